import type { Cred } from "../../../proto/gen/bigfs/v1/meta.js";
import { fail } from "../../../proto/errno.js";
import { permissionsOf } from "./acl.js";
import type { Context } from "./context.js";
import type { Inode } from "./inodes.js";
import { S_ISGID, S_ISUID, S_ISVTX, S_IXGRP, X, isDir } from "./modes.js";

export function isRoot(who: Cred): boolean {
  return who.uid === 0;
}

export function inGroup(who: Cred, gid: number): boolean {
  return who.gid === gid || who.groups.includes(gid);
}

/** Whether the permissions allow `mask` (R 4, W 2, X 1); always when the kernel has checked. */
export function accessAllowed(who: Cred, inode: Inode, mask: number): boolean {
  if (who.checked) return true;
  if (isRoot(who)) return (mask & X) === 0 || isDir(inode) || (inode.mode & 0o111) !== 0;
  return (permissionsOf(who, inode, mask) & mask) === mask;
}

export function mustAllow(ctx: Context, inode: Inode, mask: number): void {
  if (!accessAllowed(ctx.who, inode, mask)) fail("EACCES");
}

/** The owner's rights: root, or whom it belongs to. */
export function ownsInode({ who }: Context, inode: Inode): boolean {
  return who.checked || isRoot(who) || who.uid === inode.uid;
}

export function mustOwn(ctx: Context, inode: Inode): void {
  if (!ownsInode(ctx, inode)) fail("EPERM");
}

/** In a sticky folder only the owner of the folder or of the node takes it away. */
export function mustPassSticky(ctx: Context, folder: Inode, node: Inode): void {
  if ((folder.mode & S_ISVTX) === 0 || ctx.who.uid === node.uid || ownsInode(ctx, folder)) return;
  fail("EPERM");
}

/**
 * The mode without what new content must not keep: setuid, and setgid where the group may execute or the caller is not
 * in it (a kernel that has checked has seen to that).
 */
export function modeWithoutPrivileges({ who }: Context, { mode, gid }: Inode): number {
  if (isRoot(who)) return mode;
  const keepGroupBit = (mode & S_IXGRP) === 0 && (who.checked || inGroup(who, gid));
  return mode & (keepGroupBit ? ~S_ISUID : ~(S_ISUID | S_ISGID));
}
