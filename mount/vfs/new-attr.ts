import type { Attr, Make } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import type { Caller } from "./filesystem.js";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID } from "./modes.js";

/** Size that new folders show. */
const FOLDER_SIZE = 4096;

/** Attributes of what a request makes in a folder, as the metadata daemon gives them (its rule `make`). */
export function newAttr(
  folder: Attr,
  who: Caller,
  args: Make,
  made: { readonly ino: number; readonly now: Time },
): Attr {
  const { ino, now } = made;
  const type = args.mode & S_IFMT;
  const isDevice = type === S_IFCHR || type === S_IFBLK;
  const inherits = (folder.mode & S_ISGID) !== 0;
  return {
    ino,
    mode: type | permissions(args, type, inherits),
    uid: who.uid,
    gid: inherits ? folder.gid : who.gid,
    nlink: type === S_IFDIR ? 2 : 1,
    rdev: isDevice ? args.rdev : 0,
    size: sizeOf(args, type),
    atime: now,
    mtime: now,
    ctime: now,
    btime: now,
    stored: 0,
    version: 1,
    truncSeq: 0,
    hasXattrs: false,
    replicas: type === S_IFDIR || type === S_IFREG ? folder.replicas : undefined,
  };
}

function permissions({ mode, umask }: Make, type: number, inherits: boolean): number {
  if (type === S_IFLNK) return 0o777;
  const bits = mode & ~umask & (type === S_IFDIR ? 0o1777 : 0o7777);
  return type === S_IFDIR && inherits ? bits | S_ISGID : bits;
}

function sizeOf({ target }: Make, type: number): number {
  if (type === S_IFLNK) return target.length;
  return type === S_IFDIR ? FOLDER_SIZE : 0;
}
