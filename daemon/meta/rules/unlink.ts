import type { Done, Rmdir, Unlink } from "../../../proto/gen/bigfs/v1/meta.js";
import { fail } from "../../../proto/errno.js";
import type { Tx } from "../tx.js";
import { mustAllow, mustPassSticky } from "./access.js";
import { type Context, mustBeWritable } from "./context.js";
import { dropLink } from "./drop.js";
import { dropEntry, findNode } from "./entries.js";
import { W, X, isDir } from "./modes.js";

/** Takes a name away; the node goes with its last name, once nobody has it open. */
export function unlink(tx: Tx, ctx: Context, args: Unlink): Done {
  const { folder, name, entry, node } = findNode(tx, ctx, args.dir, args.name);
  mustBeWritable(ctx);
  mustAllow(ctx, folder, W | X);
  mustPassSticky(ctx, folder, node);
  if (isDir(node)) fail("EISDIR");
  dropEntry(tx, ctx, args.dir, name, entry);
  dropLink(tx, ctx, node.ino);
  return {};
}

/** Removes an empty folder. */
export function rmdir(tx: Tx, ctx: Context, args: Rmdir): Done {
  const { folder, name, entry, node } = findNode(tx, ctx, args.dir, args.name);
  mustBeWritable(ctx);
  mustAllow(ctx, folder, W | X);
  mustPassSticky(ctx, folder, node);
  if (!isDir(node)) fail("ENOTDIR");
  if (node.children > 0) fail("ENOTEMPTY");
  dropEntry(tx, ctx, args.dir, name, entry);
  dropLink(tx, ctx, node.ino);
  return {};
}
