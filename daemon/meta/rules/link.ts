import type { EntryReply, Link } from "../../../proto/gen/bigfs/v1/meta.js";
import { fail } from "../../../proto/errno.js";
import { LIMITS } from "../../../proto/limits.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { mustAllow } from "./access.js";
import { entryReply } from "./attributes.js";
import { type Context, mustBeWritable } from "./context.js";
import { addEntry, findPlace } from "./entries.js";
import { mustInode, putInode } from "./inodes.js";
import { W, isDir } from "./modes.js";

/** Gives a node that is not a folder one more name. */
export function link(tx: Tx, ctx: Context, args: Link): EntryReply {
  const node = mustInode(tx, args.ino);
  const { folder, name, entry } = findPlace(tx, ctx, args.dir, args.name);
  if (entry !== undefined) fail("EEXIST");
  mustBeWritable(ctx);
  mustAllow(ctx, folder, W);
  if (isDir(node)) fail("EPERM");
  if (node.nlink === 0 && !node.neverNamed) fail("ENOENT");
  if (node.nlink >= LIMITS.linkMax) fail("EMLINK");
  if (node.neverNamed) tx.del(key.orphan(node.ino));
  const linked = putInode(tx, { ...node, nlink: node.nlink + 1, neverNamed: false, ctime: ctx.now });
  addEntry(tx, ctx, args.dir, name, linked);
  return entryReply(linked);
}
