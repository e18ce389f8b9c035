import type { Attr, FileLock, StatFsReply } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time, Xattr } from "../../proto/gen/bigfs/v1/rows.js";
import type { Name } from "../../proto/name.js";

/** Answers that are at hand come without a promise, so that hot paths make none. Errors are thrown or rejected FsErrors. */
export type Maybe<T> = T | Promise<T>;

/** The process that asks. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary ones, where no kernel checks permissions. */
  readonly groups?: readonly number[];
  readonly pid: number;
}

/** How long (milliseconds) a kernel may answer from its own cache; never more than what is left of the lease. */
export interface Validity {
  readonly attrMs: number;
  readonly entryMs: number;
}

/** `attr` undefined: the name does not exist and the kernel may remember that for entryMs. */
export interface Found extends Validity {
  readonly attr: Attr | undefined;
}

export interface Attributes {
  readonly attr: Attr;
  readonly attrMs: number;
}

export interface Opened {
  readonly handle: number;
  /** The kernel's cached pages of this file are still right. */
  readonly keepCache: boolean;
  /** The kernel must not cache pages of this handle. */
  readonly direct: boolean;
}

export interface OpenFlags {
  readonly read: boolean;
  readonly write: boolean;
  readonly append: boolean;
  readonly truncate: boolean;
  readonly sync: boolean;
}

/** Of one write: fcntl(2) may have changed what the handle was opened with. */
export type WriteFlags = Pick<OpenFlags, "append" | "sync">;

export interface Change {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly atime?: Time | "now";
  readonly mtime?: Time | "now";
}

export interface Listed {
  readonly name: Name;
  readonly ino: number;
  /** S_IFMT bits. */
  readonly type: number;
  /** To go on after this entry. */
  readonly cookie: number;
  /** With its attributes when they were asked for and are known. */
  readonly found: Found | undefined;
}

/**
 * What the kernel may be told, from the filesystem's side. None of these waits in the caller: each resolves when the
 * kernel has done it.
 */
export interface KernelCache {
  /** Attributes only: never blocks. */
  dropAttributes(ino: number): Promise<void>;
  /** Attributes and cached pages off..off+len (len 0: to the end). */
  dropData(ino: number, off: number, len: number): Promise<void>;
  /** One name; of a folder somebody may stand in. */
  dropEntry(dir: number, name: Name, isFolder: boolean): Promise<void>;
  /** All names everywhere are looked up again: never blocks. False: this kernel cannot. */
  dropAllEntries(): boolean;
}

export interface XattrChange {
  readonly name: Name;
  readonly value: Buffer;
  /** XATTR_CREATE 1, XATTR_REPLACE 2. */
  readonly flags: number;
  /** Access control lists: setgid goes, because the caller is not in the group. */
  readonly killSgid: boolean;
}

/** The filesystem as a kernel adapter sees it: inodes, byte names, handles. Implemented by mount/vfs. */
export interface FileSystem {
  readonly root: number;
  /** Called once, before any other, when the kernel side is up. */
  attach(kernel: KernelCache): void;

  lookup(who: Caller, dir: number, name: Name): Maybe<Found>;
  /** The kernel drops `count` references that Found answers gave. */
  forget(ino: number, count: number): void;
  getattr(who: Caller, ino: number, handle?: number): Maybe<Attributes>;
  setattr(who: Caller, ino: number, change: Change, handle?: number): Maybe<Attributes>;
  access(who: Caller, ino: number, mask: number): Maybe<void>;
  readlink(who: Caller, ino: number): Maybe<Buffer>;

  mknod(who: Caller, dir: number, name: Name, mode: number, rdev: number, umask: number): Maybe<Found>;
  mkdir(who: Caller, dir: number, name: Name, mode: number, umask: number): Maybe<Found>;
  symlink(who: Caller, dir: number, name: Name, target: Buffer): Maybe<Found>;
  link(who: Caller, ino: number, dir: number, name: Name): Maybe<Found>;
  unlink(who: Caller, dir: number, name: Name): Maybe<void>;
  rmdir(who: Caller, dir: number, name: Name): Maybe<void>;
  rename(
    who: Caller,
    move: {
      fromDir: number;
      fromName: Name;
      intoDir: number;
      intoName: Name;
      noReplace: boolean;
      exchange: boolean;
      /** A character device 0,0 stays under the old name. Default: nothing. */
      whiteout?: boolean;
    },
  ): Maybe<void>;

  create(
    who: Caller,
    dir: number,
    name: Name,
    mode: number,
    umask: number,
    flags: OpenFlags & { exclusive: boolean },
  ): Maybe<Found & Opened>;
  /** O_TMPFILE: it lives as long as it is open, or until it is linked to a name. */
  createUnnamed(who: Caller, dir: number, mode: number, umask: number, flags: OpenFlags): Maybe<Found & Opened>;
  open(who: Caller, ino: number, flags: OpenFlags): Maybe<Opened>;
  /** Up to `size` bytes; fewer only at the end of the file. The adapter has copied or written them out before it returns. */
  read(handle: number, off: number, size: number): Maybe<Buffer>;
  /**
   * `data` belongs to the caller again when this returns (also when a promise is returned): copy what is kept. `flags`:
   * default those of the handle.
   */
  write(handle: number, off: number, data: Buffer, flags?: WriteFlags): Maybe<number>;
  /** close(2) of one descriptor: reports what went wrong since. Ends the fcntl locks of that owner. */
  flush(handle: number, lockOwner?: string): Maybe<void>;
  /** The last reference to the handle is gone; nobody waits for this. With flock's lock of that owner. */
  release(handle: number, flockOwner?: string): Maybe<void>;
  /** EAGAIN when it is held by others; with `wait` it waits, until that is aborted (EINTR). */
  setLock(handle: number, lock: FileLock, wait?: AbortSignal): Maybe<void>;
  /** What is in the way of the lock. */
  getLock(handle: number, lock: FileLock): Maybe<FileLock | undefined>;
  fsync(handle: number, dataOnly: boolean): Maybe<void>;
  fallocate(handle: number, mode: number, off: number, len: number): Maybe<void>;
  copyRange(from: { handle: number; off: number }, into: { handle: number; off: number }, len: number): Maybe<number>;
  /** whence: 3 SEEK_DATA, 4 SEEK_HOLE. */
  lseek(handle: number, off: number, whence: 3 | 4): Maybe<number>;

  opendir(who: Caller, ino: number): Maybe<{ handle: number }>;
  /**
   * Entries after `cookie` (0: from the start, with "." and ".." first), until `take` returns false. An entry for which
   * it returned false was not taken: it comes again with the next call, and its `found` gives no reference. Nor does
   * that of "." and "..".
   */
  readdir(handle: number, cookie: number, withAttributes: boolean, take: (entry: Listed) => boolean): Maybe<void>;
  releasedir(handle: number): Maybe<void>;
  fsyncdir(handle: number): Maybe<void>;

  statfs(): Maybe<StatFsReply>;
  getxattr(who: Caller, ino: number, name: Name): Maybe<Buffer>;
  listxattr(who: Caller, ino: number): Maybe<readonly Xattr[]>;
  setxattr(who: Caller, ino: number, change: XattrChange): Maybe<void>;
  removexattr(who: Caller, ino: number, name: Name): Maybe<void>;

  /** The kernel has unmounted: finish what was acknowledged. */
  drain(): Promise<void>;
}
