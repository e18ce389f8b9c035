import { type Name, nameBytes, nameOf } from "../../proto/name.js";
import { shownName } from "./path.js";

/** A path of this machine: bytes, as its names may be of any. */
export type LocalPath = Buffer;

const SLASH = Buffer.from("/");

export function localPath(text: string): LocalPath {
  return Buffer.from(text);
}

export function inFolder(folder: LocalPath, name: Name): LocalPath {
  const separator = folder.at(-1) === SLASH[0] ? [] : [SLASH];
  return Buffer.concat([folder, ...separator, nameBytes(name)]);
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
