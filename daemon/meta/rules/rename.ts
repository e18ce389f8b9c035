import type { Rename, Renamed } from "../../../proto/gen/bigfs/v1/meta.js";
import { fail } from "../../../proto/errno.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { mustAllow, mustPassSticky } from "./access.js";
import { type Context, mustBeWritable } from "./context.js";
import { dropLink } from "./drop.js";
import { type FilledPlace, type Place, addEntry, dropEntry, findNode, findPlace, turnEntry } from "./entries.js";
import { type Inode, changeUsage, mustInode, putInode } from "./inodes.js";
import { newNode } from "./make.js";
import { S_IFCHR, W, X, isDir } from "./modes.js";
import { ROOT_INO } from "./volume.js";

const WHITEOUT = { mode: S_IFCHR, umask: 0, rdev: 0, target: Buffer.alloc(0), open: false };

/** rename(2) and renameat2(2) with NOREPLACE, EXCHANGE or WHITEOUT. */
export function rename(tx: Tx, ctx: Context, args: Rename): Renamed {
  const leavesWhiteout = args.whiteout === true;
  if (args.exchange && (args.noReplace || leavesWhiteout)) fail("EINVAL");
  const from = findNode(tx, ctx, args.fromDir, args.fromName);
  const place = findPlace(tx, ctx, args.intoDir, args.intoName);
  const into = place.entry === undefined ? place : { ...place, node: mustInode(tx, place.entry.ino) };
  if (isFilled(into) && args.noReplace) fail("EEXIST");
  if (!isFilled(into) && args.exchange) fail("ENOENT");
  mustBeWritable(ctx);
  mustKeepTree(tx, from, into, args.exchange);
  if (isFilled(into) && into.node.ino === from.node.ino) return renamed(0);
  mustLetGo(ctx, from);
  if (!isFilled(into)) {
    mustAllow(ctx, into.folder, W | X);
    mustLetMove(ctx, from, into);
    leave(tx, ctx, from, leavesWhiteout);
    addEntry(tx, ctx, into.folder.ino, into.name, from.node);
    settle(tx, ctx, from.node.ino, into.folder.ino);
    return renamed(leavesWhiteout ? 0 : from.node.ino);
  }
  mustLetGo(ctx, into);
  if (!args.exchange) mustFit(from.node, into.node);
  mustLetMove(ctx, from, into);
  if (args.exchange) {
    mustLetMove(ctx, into, from);
    exchange(tx, ctx, from, into);
    return renamed(0);
  }
  if (isDir(into.node) && into.node.children > 0) fail("ENOTEMPTY");
  leave(tx, ctx, from, leavesWhiteout);
  turnEntry(tx, ctx, into.folder.ino, into.name, { from: into.entry, to: from.node });
  settle(tx, ctx, from.node.ino, into.folder.ino);
  dropLink(tx, ctx, into.node.ino);
  return renamed(leavesWhiteout ? 0 : from.node.ino);
}

/** `moved`: the inode of which it is known that it has one name more and one less; otherwise 0. */
function renamed(moved: number): Renamed {
  return { changed: undefined, moved, fromCached: false, intoCached: false };
}

function isFilled(place: Place): place is FilledPlace {
  return place.entry !== undefined;
}

/** Nothing may end inside itself, nor replace a folder that it is in. */
function mustKeepTree(tx: Tx, from: FilledPlace, into: Place, swap: boolean): void {
  if (from.folder.ino === into.folder.ino) return;
  if (isDir(from.node) && isWithin(tx, into.folder, from.node.ino)) fail("EINVAL");
  if (!isFilled(into) || !isDir(into.node)) return;
  if (isWithin(tx, from.folder, into.node.ino)) fail(swap ? "EINVAL" : "ENOTEMPTY");
}

/** Whether the folder is `above` or lies somewhere in it. */
function isWithin(tx: Tx, folder: Inode, above: number): boolean {
  let at = folder;
  while (at.ino !== above) {
    if (at.ino === ROOT_INO) return false;
    at = mustInode(tx, at.parent);
  }
  return true;
}

function mustLetGo(ctx: Context, place: FilledPlace): void {
  mustAllow(ctx, place.folder, W | X);
  mustPassSticky(ctx, place.folder, place.node);
}

/** What is moved to another folder gets another "..", which is a change of the folder that is moved. */
function mustLetMove(ctx: Context, from: FilledPlace, into: Place): void {
  if (isDir(from.node) && from.folder.ino !== into.folder.ino) mustAllow(ctx, from.node, W);
}

/** Whether `node` may stand in the place of `old`. */
function mustFit(node: Inode, old: Inode): void {
  if (isDir(node) && !isDir(old)) fail("ENOTDIR");
  if (!isDir(node) && isDir(old)) fail("EISDIR");
}

/** The old name leads to nothing, or to what overlay filesystems take for "removed": a character device 0,0. */
function leave(tx: Tx, ctx: Context, { folder, name, entry }: FilledPlace, leavesWhiteout: boolean): void {
  if (!leavesWhiteout) return dropEntry(tx, ctx, folder.ino, name, entry);
  const whiteout = newNode(ctx, WHITEOUT, folder);
  tx.put(key.inode(whiteout.ino), whiteout);
  turnEntry(tx, ctx, folder.ino, name, { from: entry, to: whiteout });
  changeUsage(tx, { inodes: 1 });
}

function exchange(tx: Tx, ctx: Context, from: FilledPlace, into: FilledPlace): void {
  turnEntry(tx, ctx, from.folder.ino, from.name, { from: from.entry, to: into.node });
  turnEntry(tx, ctx, into.folder.ino, into.name, { from: into.entry, to: from.node });
  settle(tx, ctx, from.node.ino, into.folder.ino);
  settle(tx, ctx, into.node.ino, from.folder.ino);
}

/** The moved node's own row. */
function settle(tx: Tx, ctx: Context, ino: number, dir: number): void {
  const node = mustInode(tx, ino);
  putInode(tx, { ...node, ctime: ctx.now, parent: isDir(node) ? dir : 0 });
}
