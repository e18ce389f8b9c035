import type { Access, AttrReply, Done, EntryReply, GetAttr, Lookup } from "../../../proto/gen/bigfs/v1/meta.js";
import { fail } from "../../../proto/errno.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { accessAllowed } from "./access.js";
import type { Context } from "./context.js";
import { findPlace } from "./entries.js";
import { type Inode, attrOf, mustInode } from "./inodes.js";
import { W, isDir, isFile, isSymlink } from "./modes.js";

export function attrReply(inode: Inode): AttrReply {
  return { attr: attrOf(inode), cached: false, copied: 0, shownMs: 0 };
}

export function entryReply(inode: Inode | undefined): EntryReply {
  return { attr: inode === undefined ? undefined : attrOf(inode), cached: false, entryCached: false, exclusive: false };
}

/** No attributes: there is no such name. */
export function lookup(tx: Tx, ctx: Context, args: Lookup): EntryReply {
  const { entry } = findPlace(tx, ctx, args.dir, args.name);
  return entryReply(entry === undefined ? undefined : mustInode(tx, entry.ino));
}

export function getattr(tx: Tx, _ctx: Context, args: GetAttr): AttrReply {
  return attrReply(mustInode(tx, args.ino));
}

export function access(tx: Tx, ctx: Context, args: Access): Done {
  const inode = mustInode(tx, args.ino);
  const stored = isFile(inode) || isDir(inode) || isSymlink(inode);
  if (ctx.readOnly && stored && (args.mask & W) !== 0) fail("EROFS");
  return accessAllowed(ctx.who, inode, args.mask) ? {} : fail("EACCES");
}

/** The target of a symbolic link; EINVAL for anything else. */
export function readlink(tx: Tx, _ctx: Context, args: { ino: number }): { target: Buffer } {
  const inode = mustInode(tx, args.ino);
  return isSymlink(inode) ? { target: inode.target } : fail("EINVAL");
}

/** What a listing needs before it starts: the folder's parent. ENOTDIR, EACCES. A removed folder lists as empty. */
export function readdirCheck(tx: Tx, ctx: Context, args: { dir: number }): { parent: number } {
  const folder = tx.get(key.inode(args.dir)) ?? fail("ESTALE");
  if (!isDir(folder)) fail("ENOTDIR");
  if (!accessAllowed(ctx.who, folder, 4)) fail("EACCES");
  return { parent: folder.parent };
}
