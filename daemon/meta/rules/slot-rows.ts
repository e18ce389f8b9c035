/**
 * Slots of a file. Invariants: ChunkRow.refs is the number of slices, in all slot rows, that name the chunk (stale rows
 * that wait for the sweep included); InodeRow.stored is the sum of the bytes that the file's slot rows cover; no live
 * slice reaches past the size of its file; no live slot row lies at or past slot_end.
 */
import type { Slice, SlotRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { makeGarbage } from "./chunks.js";
import type { Inode } from "./inodes.js";
import { preloadChunks } from "./replicas.js";
import { countChunks, coveredBytes } from "./slices.js";

/** What a reader sees in this slot: nothing where the row only waits to be swept. */
export function liveSlices(tx: Tx, inode: Inode, slot: number): readonly Slice[] {
  const row = slot < inode.slotEnd ? tx.get(key.slot(inode.ino, slot)) : undefined;
  return row === undefined || isStale(tx, inode, slot, row) ? [] : row.slices;
}

/** Whether the row was cut off by a truncation or a punch that has not been swept yet. */
export function isStale(tx: Tx, inode: Inode, slot: number, row: Readonly<SlotRow>): boolean {
  if (!inode.sweeping) return false;
  const ranges = tx.get(key.sweep(inode.ino))?.ranges ?? [];
  return ranges.some((range) => slot >= range.first && slot < range.end && row.seq < range.seq);
}

/**
 * Puts what the slot holds from now on (nothing: its row goes), with the references that this makes and drops. The
 * inode, which is not put, comes back with `stored` and `slot_end`.
 */
export function putSlices(tx: Tx, inode: Inode, slot: number, slices: Slice[]): Inode {
  const at = key.slot(inode.ino, slot);
  const before = tx.get(at)?.slices ?? [];
  moveReferences(tx, { ino: inode.ino, version: inode.version + 1 }, before, slices);
  if (slices.length > 0) tx.put(at, { slices, seq: inode.truncSeq });
  else if (before.length > 0) tx.del(at);
  const slotEnd = slices.length > 0 ? Math.max(inode.slotEnd, slot + 1) : inode.slotEnd;
  return { ...inode, slotEnd, stored: inode.stored - coveredBytes(before) + coveredBytes(slices) };
}

/** These slots will be asked for. */
export function preloadSlots(tx: Tx, ino: number, first: number, end: number): void {
  const count = Math.max(0, end - first);
  tx.preload?.(Array.from({ length: count }, (_, i) => key.slot(ino, first + i)));
}

/** Rows that dropping this slot changes, at most. */
export function rowsOf(slices: readonly Slice[]): number {
  return 1 + 2 * countChunks(slices).size;
}

/** Counts references anew after the slices of a slot have changed, by a change that makes this version of the file. */
export function moveReferences(
  tx: Tx,
  by: { ino: number; version: number },
  before: readonly Slice[],
  after: readonly Slice[],
): void {
  const changes = countChunks(after);
  for (const [chunk, count] of countChunks(before)) changes.set(chunk, (changes.get(chunk) ?? 0) - count);
  preloadChunks(tx, changes.keys());
  for (const [chunk, change] of changes) changeReferences(tx, by, chunk, change);
}

function changeReferences(tx: Tx, by: { ino: number; version: number }, id: number, change: number): void {
  if (change === 0) return;
  const chunk = tx.get(key.chunk(id));
  // What is damaged must still be deletable.
  if (chunk === undefined && change < 0) return;
  if (chunk === undefined) fail("EIO", `chunk ${id} is not known`);
  const refs = chunk.refs + change;
  if (refs < 0) throw new Error(`chunk ${id} has ${chunk.refs} references, ${-change} were dropped`);
  if (refs === 0) {
    makeGarbage(tx, { ...chunk, refs }, { ino: by.ino, version: by.version });
    return;
  }
  if (chunk.garbage) tx.del(key.garbage(id));
  tx.put(key.chunk(id), { ...chunk, refs, garbage: false });
}
