import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import type { Context } from "./context.js";
import { type Inode, changeUsage, mustInode, putInode } from "./inodes.js";
import { isDir, isFile } from "./modes.js";
import { newBudget } from "./references.js";
import { dropSlot, preloadSlots, sweepOf } from "./slot-rows.js";
import { SLOTS_AT_ONCE } from "./truncate.js";

/** One name of the node (of a folder: the only one) is gone. */
export function dropLink(tx: Tx, ctx: Context, ino: number): void {
  const node = mustInode(tx, ino);
  const nlink = isDir(node) ? 0 : node.nlink - 1;
  const left = putInode(tx, { ...node, nlink, ctime: ctx.now });
  if (nlink > 0) return;
  if (ctx.isOpen(ino)) tx.put(key.orphan(ino), { ino });
  else dropInode(tx, left);
}

/** Removes a file that has no name, when the last session has let go of it. False: it was no orphan. */
export function reapOrphan(tx: Tx, ino: number): boolean {
  if (tx.get(key.orphan(ino)) === undefined) return false;
  tx.del(key.orphan(ino));
  const inode = tx.get(key.inode(ino));
  if (inode !== undefined) dropInode(tx, inode);
  return true;
}

/** The inode goes at once; of a big file the slots go with the sweep. */
function dropInode(tx: Tx, inode: Inode): void {
  const { ino } = inode;
  if (isFile(inode)) dropSlots(tx, inode);
  if (inode.hasXattrs) tx.del(key.xattrs(ino));
  tx.del(key.inode(ino));
  changeUsage(tx, { inodes: -1, bytes: isFile(inode) ? -inode.size : 0 });
}

function dropSlots(tx: Tx, inode: Inode): void {
  const { ino } = inode;
  if (inode.hasUnsynced && tx.get(key.unsynced(ino)) !== undefined) tx.del(key.unsynced(ino));
  const sweep = inode.sweeping ? sweepOf(tx, ino) : undefined;
  const ends =
    sweep === undefined ? [] : [...sweep.ranges.map(({ end }) => end), ...sweep.loose.map((slot) => slot + 1)];
  const end = Math.max(inode.slotEnd, ...ends);
  if (sweep !== undefined || end > SLOTS_AT_ONCE) {
    if (end > 0) tx.put(key.sweep(ino), { ino, firstSlot: 0, endSlot: end, remove: true, ranges: [], loose: [] });
    return;
  }
  preloadSlots(tx, ino, 0, end);
  const budget = newBudget();
  let slot = 0;
  while (slot < end && dropSlot(tx, ino, slot, budget)) slot += 1;
  if (slot < end) tx.put(key.sweep(ino), { ino, firstSlot: slot, endSlot: end, remove: true, ranges: [], loose: [] });
}
