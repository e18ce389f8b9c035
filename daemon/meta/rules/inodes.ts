import type { Attr } from "../../../proto/gen/bigfs/v1/meta.js";
import type { InodeRow, Time } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { isDir, isFile } from "./modes.js";

/** Size that folders show, as ext4's smallest. */
const FOLDER_SIZE = 4096;

/** Cookies 1 and 2 are "." and "..". */
const FIRST_COOKIE = 3;

const NO_BYTES = Buffer.alloc(0);

export type Inode = Readonly<InodeRow>;

/** A row with everything at its start value; a folder still lacks its parent. */
export function newInode(made: { ino: number; mode: number; uid: number; gid: number; now: Time }): InodeRow {
  const { ino, mode, uid, gid, now } = made;
  const folder = isDir(made);
  return {
    ino,
    mode,
    uid,
    gid,
    nlink: folder ? 2 : 1,
    rdev: 0,
    size: folder ? FOLDER_SIZE : 0,
    atime: now,
    mtime: now,
    ctime: now,
    btime: now,
    parent: 0,
    children: 0,
    nextCookie: folder ? FIRST_COOKIE : 0,
    version: 1,
    truncSeq: 0,
    target: NO_BYTES,
    stored: 0,
    hasXattrs: false,
    slotEnd: 0,
    cuts: [],
    cutFloor: 0,
    mtimeSet: undefined,
    sweeping: false,
    hasUnsynced: false,
    acl: undefined,
    defaultAcl: undefined,
    neverNamed: false,
    replicas: undefined,
    replicasSeq: undefined,
  };
}

/** The inode; ESTALE when it is gone (a kernel that has an old name for it looks the name up again). */
export function mustInode(tx: Tx, ino: number): Inode {
  return tx.get(key.inode(ino)) ?? fail("ESTALE", `inode ${ino} does not exist`);
}

export function mustBeDir(inode: Inode): Inode {
  return isDir(inode) ? inode : fail("ENOTDIR");
}

/** A regular file; EISDIR for a folder, EINVAL for anything else. */
export function mustBeFile(inode: Inode): Inode {
  if (isFile(inode)) return inode;
  return fail(isDir(inode) ? "EISDIR" : "EINVAL");
}

/** The folder; ENOENT when it was removed and lives only because it is open. */
export function mustFolder(tx: Tx, ino: number): Inode {
  const folder = mustBeDir(mustInode(tx, ino));
  return folder.nlink === 0 ? fail("ENOENT") : folder;
}

/** Puts the changed row with its next version. */
export function putInode(tx: Tx, inode: Inode): Inode {
  const next = { ...inode, version: inode.version + 1 };
  tx.put(key.inode(inode.ino), next);
  return next;
}

export function changeUsage(tx: Tx, change: { inodes?: number; bytes?: number }): void {
  const { inodes = 0, bytes = 0 } = change;
  if (inodes === 0 && bytes === 0) return;
  const usage = tx.get(key.usage) ?? { inodes: 0, bytes: 0 };
  tx.put(key.usage, { inodes: usage.inodes + inodes, bytes: usage.bytes + bytes });
}

export function attrOf(inode: Inode): Attr {
  const { ino, mode, uid, gid, nlink, rdev, size, atime, mtime, ctime, btime, stored, version, truncSeq } = inode;
  const { replicas } = inode;
  const hasXattrs = inode.hasXattrs || inode.acl !== undefined || inode.defaultAcl !== undefined;
  return {
    ino,
    mode,
    uid,
    gid,
    nlink,
    rdev,
    size,
    atime,
    mtime,
    ctime,
    btime,
    stored,
    version,
    truncSeq,
    hasXattrs,
    replicas,
  };
}
