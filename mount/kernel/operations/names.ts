import { fail } from "../../../proto/errno.js";
import type { FileSystem, Found, Maybe } from "../../vfs/filesystem.js";
import { writeEntry } from "../codec/attributes.js";
import {
  parseBatchForget,
  parseForget,
  parseLink,
  parseMkdir,
  parseMknod,
  parseRename,
  parseRename2,
  parseSymlink,
  type RenameRequest,
} from "../codec/names.js";
import type { Head } from "../codec/header.js";
import type { Output } from "../codec/output.js";
import { notice, operation } from "./operation.js";

/** The answer to what makes or finds an inode; the kernel then holds one reference to it. */
export const entryAnswer = {
  reply(out: Output, found: Found): undefined {
    if (found.attr === undefined) fail("EIO", "the new entry has no attributes");
    writeEntry(out, found);
  },
  undo(fs: FileSystem, found: Found): void {
    if (found.attr !== undefined) fs.forget(found.attr.ino, 1);
  },
};

export const lookup = operation({
  name: "lookup",
  parse: (cursor) => cursor.name(),
  run: (fs, head, name) => fs.lookup(head.who, head.node, name),
  reply(out, found) {
    if (found.attr === undefined && !(found.entryMs > 0)) fail("ENOENT");
    writeEntry(out, found);
    return undefined;
  },
  undo: (fs, found) => entryAnswer.undo(fs, found),
});

export const forget = notice({
  name: "forget",
  parse: parseForget,
  run: (fs, head, count) => fs.forget(head.node, count),
});

export const batchForget = notice({
  name: "forget",
  parse: parseBatchForget,
  run(fs, _head, batch) {
    for (const { ino, count } of batch) fs.forget(ino, count);
  },
});

export const mknod = operation({
  name: "mknod",
  parse: parseMknod,
  run: (fs, head, { name, mode, rdev, umask }) => fs.mknod(head.who, head.node, name, mode, rdev, umask),
  ...entryAnswer,
});

export const mkdir = operation({
  name: "mkdir",
  parse: parseMkdir,
  run: (fs, head, { name, mode, umask }) => fs.mkdir(head.who, head.node, name, mode, umask),
  ...entryAnswer,
});

export const symlink = operation({
  name: "symlink",
  parse: parseSymlink,
  run: (fs, head, { name, target }) => fs.symlink(head.who, head.node, name, target),
  ...entryAnswer,
});

export const link = operation({
  name: "link",
  parse: parseLink,
  run: (fs, head, { ino, name }) => fs.link(head.who, ino, head.node, name),
  ...entryAnswer,
});

export const unlink = operation({
  name: "unlink",
  parse: (cursor) => cursor.name(),
  run: (fs, head, name) => fs.unlink(head.who, head.node, name),
});

function runRename(fs: FileSystem, head: Head, move: RenameRequest): Maybe<void> {
  return fs.rename(head.who, { fromDir: head.node, ...move });
}

/** Its asker holds the lock of the folder that goes, too. */
export const rmdir = operation({
  name: "rmdir",
  holdsOthers: true,
  parse: (cursor) => cursor.name(),
  run: (fs, head, name) => fs.rmdir(head.who, head.node, name),
});

export const rename = operation({
  name: "rename",
  holdsOthers: true,
  parse: parseRename,
  run: runRename,
});

export const rename2 = operation({
  name: "rename",
  holdsOthers: true,
  parse: parseRename2,
  run: runRename,
});

export const readlink = operation({
  name: "readlink",
  parse: () => undefined,
  run: (fs, head) => fs.readlink(head.who, head.node),
  reply: (_out, target) => target,
});
