/** Bits of st_mode. */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;
export const S_IXGRP = 0o0010;

/** Bits of an access mask, as access(2) has them. */
export const R = 4;
export const W = 2;
export const X = 1;

interface HasMode {
  readonly mode: number;
}

export function typeOf(inode: HasMode): number {
  return inode.mode & S_IFMT;
}

export function isDir(inode: HasMode): boolean {
  return typeOf(inode) === S_IFDIR;
}

export function isFile(inode: HasMode): boolean {
  return typeOf(inode) === S_IFREG;
}

export function isSymlink(inode: HasMode): boolean {
  return typeOf(inode) === S_IFLNK;
}
