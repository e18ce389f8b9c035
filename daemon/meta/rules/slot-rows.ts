/**
 * Slots of a file. Invariants: InodeRow.stored is the sum of the bytes that the slices of the file's slot rows cover
 * (stale rows that wait for the sweep included); no live slice reaches past the size of its file; no live slot row lies
 * at or past slot_end; a slot row that has `dropped` stands in the `loose` of the file's sweep.
 */
import type { Slice, SlotRow, SweepRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import type { Inode } from "./inodes.js";
import { type Budget, addReferences, compareSlices, dropReferences } from "./references.js";
import { coveredBytes } from "./slices.js";

const LOOSE_MAX = 4096;

/** What a reader sees in this slot: nothing where the row only waits to be swept. */
export function liveSlices(tx: Tx, inode: Inode, slot: number): readonly Slice[] {
  const row = slot < inode.slotEnd ? tx.get(key.slot(inode.ino, slot)) : undefined;
  return row === undefined || isStale(tx, inode, slot, row) ? [] : row.slices;
}

/** Whether the row was cut off by a truncation or a punch that has not been swept yet. */
export function isStale(tx: Tx, inode: Inode, slot: number, row: Readonly<SlotRow>): boolean {
  if (!inode.sweeping) return false;
  const { ranges } = sweepOf(tx, inode.ino);
  return ranges.some((range) => slot >= range.first && slot < range.end && row.seq < range.seq);
}

/** False: there is no such row, not even one that waits to be swept. */
export function mayHaveSlot(inode: Inode, slot: number): boolean {
  return slot < inode.slotEnd || inode.sweeping;
}

/**
 * Puts what the slot holds from now on (nothing: its row goes), with the references that this makes and drops. The
 * inode, which is not put, comes back with `stored`, `slot_end` and `sweeping`.
 */
export function putSlices(tx: Tx, inode: Inode, slot: number, slices: Slice[], budget: Budget): Inode {
  const at = key.slot(inode.ino, slot);
  const before = (mayHaveSlot(inode, slot) ? tx.get(at) : undefined) ?? { slices: [], seq: 0, dropped: [] };
  const { gained, lost } = compareSlices(before.slices, slices);
  budget.rows -= 1;
  addReferences(tx, gained, inode.replicas ?? 0, budget);
  const change = { ino: inode.ino, version: inode.version + 1 };
  const dropped = dropReferences(tx, change, [...before.dropped, ...lost], budget);
  if (slices.length + dropped.length > 0) tx.put(at, { slices, seq: inode.truncSeq, dropped });
  else if (before.slices.length + before.dropped.length > 0) tx.del(at);
  const slotEnd = slices.length > 0 ? Math.max(inode.slotEnd, slot + 1) : inode.slotEnd;
  const stored = inode.stored - coveredBytes(before.slices) + coveredBytes(slices);
  const sweeping = inode.sweeping || dropped.length > 0;
  if (dropped.length > 0 && before.dropped.length === 0) noteLoose(tx, inode.ino, slot);
  return { ...inode, slotEnd, stored, sweeping };
}

/** Drops a slot of a file that is gone. False: the budget was not enough, and the rest of it is still there. */
export function dropSlot(tx: Tx, ino: number, slot: number, budget: Budget): boolean {
  const at = key.slot(ino, slot);
  const row = tx.get(at);
  if (row === undefined) return true;
  if (budget.rows <= 0) return false;
  const { lost } = compareSlices(row.slices, []);
  const dropped = dropReferences(tx, { ino, version: 0 }, [...row.dropped, ...lost], budget);
  budget.rows -= 1;
  if (dropped.length === 0) tx.del(at);
  else tx.put(at, { slices: [], seq: row.seq, dropped });
  return dropped.length === 0;
}

/** The file's sweep as it stands, or one that has nothing to do. */
export function sweepOf(tx: Tx, ino: number): Readonly<SweepRow> {
  return tx.get(key.sweep(ino)) ?? { ino, firstSlot: 0, endSlot: 0, remove: false, ranges: [], loose: [] };
}

/** These slots will be asked for. */
export function preloadSlots(tx: Tx, ino: number, first: number, end: number): void {
  const count = Math.max(0, end - first);
  tx.preload?.(Array.from({ length: count }, (_, i) => key.slot(ino, first + i)));
}

function noteLoose(tx: Tx, ino: number, slot: number): void {
  const sweep = sweepOf(tx, ino);
  if (sweep.loose.includes(slot)) return;
  if (sweep.loose.length >= LOOSE_MAX) fail("EAGAIN", `inode ${ino}: earlier changes are still being swept`);
  tx.put(key.sweep(ino), { ...sweep, loose: [...sweep.loose, slot] });
}
