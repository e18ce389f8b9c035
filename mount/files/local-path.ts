import { resolve } from "node:path";
import { type Name, nameBytes, nameOf } from "../../proto/name.js";
import { shownName, writtenBytes } from "./path.js";

/** A path of this machine: bytes, as its names may be of any. */
export type LocalPath = Buffer;

const SLASH = Buffer.from("/");

export function localPath(text: string): LocalPath {
  return Buffer.from(text);
}

/** The absolute path that a person has written; `isEscaped` and errors as of `parsePath`. */
export function parseLocal(text: string, isEscaped = false): LocalPath {
  const bytes = writtenBytes(text, isEscaped).toString("latin1");
  return Buffer.from(resolve(Buffer.from(process.cwd()).toString("latin1"), bytes), "latin1");
}

export function inFolder(folder: LocalPath, name: Name): LocalPath {
  const separator = folder.at(-1) === SLASH[0] ? [] : [SLASH];
  return Buffer.concat([folder, ...separator, nameBytes(name)]);
}

/** The same with a slash at the end: a symbolic link there is followed, and a file refused. */
export function asFolder(path: LocalPath): LocalPath {
  return Buffer.concat([path, SLASH]);
}

/** The name at the end of an absolute path. */
export function localName(path: LocalPath): Name {
  return nameOf(path.subarray(path.lastIndexOf(SLASH) + 1));
}

/** The folder that an absolute path lies in. */
export function folderOf(path: LocalPath): LocalPath {
  return path.subarray(0, Math.max(1, path.lastIndexOf(SLASH)));
}

/** Another name in the same folder. */
export function beside(path: LocalPath, name: Name): LocalPath {
  return Buffer.concat([path.subarray(0, path.lastIndexOf(SLASH) + 1), nameBytes(name)]);
}

export function shownLocal(path: LocalPath): string {
  return path
    .toString("latin1")
    .split("/")
    .map((part) => shownName(part as Name))
    .join("/");
}
