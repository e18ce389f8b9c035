import { LIMITS } from "../../../proto/limits.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import type { Context } from "./context.js";
import { type Inode, changeUsage, mustInode, putInode } from "./inodes.js";
import { isDir, isFile } from "./modes.js";
import { preloadSlots, putSlices, rowsOf } from "./slot-rows.js";
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
  if (tx.get(key.unsynced(ino)) !== undefined) tx.del(key.unsynced(ino));
  const swept = inode.sweeping ? (tx.get(key.sweep(ino))?.ranges ?? []) : [];
  const end = Math.max(inode.slotEnd, ...swept.map((range) => range.end));
  if (end <= SLOTS_AT_ONCE) preloadSlots(tx, ino, 0, end);
  let row = inode;
  let slot = 0;
  let rows = 0;
  while (end <= SLOTS_AT_ONCE && slot < end) {
    const slices = tx.get(key.slot(ino, slot))?.slices ?? [];
    rows += rowsOf(slices);
    if (rows > LIMITS.rowsPerOperation / 4 && slot > 0) break;
    row = putSlices(tx, row, slot, []);
    slot += 1;
  }
  if (slot < end) tx.put(key.sweep(ino), { ino, firstSlot: slot, endSlot: end, remove: true, ranges: [] });
  else if (inode.sweeping) tx.del(key.sweep(ino));
}
