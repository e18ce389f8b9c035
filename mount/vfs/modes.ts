import type { Attr } from "../../proto/gen/bigfs/v1/meta.js";

export const S_IFMT = 0o170000;
export const S_IFREG = 0o100000;
export const S_IFDIR = 0o040000;
export const S_IFLNK = 0o120000;
export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;
export const S_ISGID = 0o2000;

/** Whether these are the attributes of a regular file. */
export function isRegular({ mode }: Attr): boolean {
  return (mode & S_IFMT) === S_IFREG;
}

export function isFolder({ mode }: Attr): boolean {
  return (mode & S_IFMT) === S_IFDIR;
}
