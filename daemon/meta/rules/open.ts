import type { Open, OpenReply } from "../../../proto/gen/bigfs/v1/meta.js";
import { fail } from "../../../proto/errno.js";
import type { Tx } from "../tx.js";
import { modeWithoutPrivileges, mustAllow } from "./access.js";
import { type Context, mustBeWritable } from "./context.js";
import { type Inode, attrOf, mustInode, putInode } from "./inodes.js";
import { W, isDir, isFile, isSymlink } from "./modes.js";
import { readSlots } from "./read-slots.js";
import { resized } from "./truncate.js";

/** Slots that come with an open. */
const FIRST_SLOTS = 4;

/** Opens by inode. The service counts the open; the answer carries the first slots of a regular file. */
export function open(tx: Tx, ctx: Context, args: Open): OpenReply {
  const inode = mustInode(tx, args.ino);
  if (inode.nlink === 0 && !ctx.isOpen(inode.ino)) fail("ESTALE");
  if (isSymlink(inode)) fail("ELOOP");
  if (isDir(inode) && ((args.access & W) !== 0 || args.truncate)) fail("EISDIR");
  const opened = openChecked(tx, ctx, inode, args);
  const slots = isFile(opened) ? readSlots(tx, opened, { first: 0, count: FIRST_SLOTS }) : undefined;
  return { attr: attrOf(opened), cached: false, slots };
}

/** Checks the access, and truncates when asked to; the inode as it is then. */
export function openChecked(tx: Tx, ctx: Context, inode: Inode, want: { access: number; truncate: boolean }): Inode {
  const truncate = want.truncate && isFile(inode);
  const access = truncate ? want.access | W : want.access;
  if ((access & W) !== 0 && (isFile(inode) || isDir(inode))) mustBeWritable(ctx);
  mustAllow(ctx, inode, access);
  if (!truncate) return inode;
  const mode = modeWithoutPrivileges(ctx, inode);
  const row = resized(tx, ctx, inode, 0);
  return putInode(tx, { ...row, mode, mtime: ctx.now, ctime: ctx.now, mtimeSet: undefined });
}
