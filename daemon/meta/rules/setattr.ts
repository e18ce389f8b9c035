import type { AttrReply, SetAttr } from "../../../proto/gen/bigfs/v1/meta.js";
import { fail } from "../../../proto/errno.js";
import type { Tx } from "../tx.js";
import { inGroup, isRoot, modeWithoutPrivileges, mustAllow, mustOwn, ownsInode } from "./access.js";
import { attrReply } from "./attributes.js";
import { type Context, mustBeWritable } from "./context.js";
import { type Inode, mustBeFile, mustInode, putInode } from "./inodes.js";
import { S_IFMT, S_ISGID, S_ISUID, S_IXGRP, W, isDir } from "./modes.js";
import { changeTime } from "./times.js";
import { resized } from "./truncate.js";

/** chmod, chown, truncate and utimens, any of them at once: all or nothing. */
export function setattr(tx: Tx, ctx: Context, args: SetAttr): AttrReply {
  const inode = mustInode(tx, args.ino);
  mustBeWritable(ctx);
  if (args.size !== undefined) mustTruncate(ctx, inode);
  if (args.uid !== undefined || args.gid !== undefined) mustChown(ctx, inode, args);
  if (args.mode !== undefined) mustOwn(ctx, inode);
  mustSetTimes(ctx, inode, args);
  const owned = withOwner(ctx, inode, args);
  const sized = args.size === undefined ? owned : withSize(tx, ctx, owned, args.size);
  const moded = args.mode === undefined ? sized : withMode(ctx, sized, args.mode);
  const timed = withTimes(ctx, moded, args);
  return attrReply(putInode(tx, { ...timed, ctime: changeTime(ctx, inode) }));
}

function mustTruncate(ctx: Context, inode: Inode): void {
  mustBeFile(inode);
  mustAllow(ctx, inode, W);
}

/** Root may all; an owner may give the file to a group of its own. */
function mustChown(ctx: Context, inode: Inode, { uid, gid }: SetAttr): void {
  const { who } = ctx;
  if (who.checked || isRoot(who)) return;
  mustOwn(ctx, inode);
  if (uid !== undefined && uid !== inode.uid) fail("EPERM");
  if (gid !== undefined && gid !== inode.gid && !inGroup(who, gid)) fail("EPERM");
}

/** Explicit times are the owner's; "both to now" is also for whoever may write. */
function mustSetTimes(ctx: Context, inode: Inode, { atime, mtime, atimeNow, mtimeNow }: SetAttr): void {
  if (atime === undefined && mtime === undefined && !atimeNow && !mtimeNow) return;
  if (ownsInode(ctx, inode)) return;
  if (atimeNow && mtimeNow && atime === undefined && mtime === undefined) mustAllow(ctx, inode, W);
  else fail("EPERM");
}

function withOwner(ctx: Context, inode: Inode, { uid, gid }: SetAttr): Inode {
  if (uid === undefined && gid === undefined) return inode;
  const mode = isDir(inode) ? inode.mode : modeAfterChown(ctx, inode);
  return { ...inode, uid: uid ?? inode.uid, gid: gid ?? inode.gid, mode };
}

function modeAfterChown({ who }: Context, inode: Inode): number {
  const keepGroupBit = (inode.mode & S_IXGRP) === 0 && (who.checked || isRoot(who) || inGroup(who, inode.gid));
  return inode.mode & ~(keepGroupBit ? S_ISUID : S_ISUID | S_ISGID);
}

function withSize(tx: Tx, ctx: Context, inode: Inode, size: number): Inode {
  const row = resized(tx, ctx, inode, size);
  return { ...row, mode: modeWithoutPrivileges(ctx, row), mtime: ctx.now, mtimeSet: undefined };
}

/** The type never changes; setgid is dropped for a group that the caller is not in. */
function withMode({ who }: Context, inode: Inode, mode: number): Inode {
  const keepGroupBit = who.checked || isRoot(who) || inGroup(who, inode.gid);
  const bits = mode & (keepGroupBit ? 0o7777 : 0o7777 & ~S_ISGID);
  return { ...inode, mode: (inode.mode & S_IFMT) | bits };
}

function withTimes(ctx: Context, inode: Inode, args: SetAttr): Inode {
  const atime = args.atimeNow ? ctx.now : args.atime;
  const mtime = args.mtimeNow ? ctx.now : args.mtime;
  const row = { ...inode, atime: atime ?? inode.atime };
  return mtime === undefined ? row : { ...row, mtime, mtimeSet: ctx.now };
}
