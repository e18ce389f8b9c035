/**
 * The long work that truncations and removals of big files leave behind (SweepRow). A rule cannot search, so whoever
 * runs it asks for the range, lists the slot rows that exist there, and hands them to the next step:
 *
 *   for (;;) {
 *     const work = run((tx) => sweepWork(tx, ino));
 *     if (work === undefined) break;                                    // done
 *     const slots = (existing S rows with work.first <= slot < work.end, in order, at most SWEEP_SLOTS);
 *     const upTo = slots.length < SWEEP_SLOTS ? work.end : slots.at(-1) + 1;
 *     run((tx) => sweepStep(tx, work, { slots, upTo }));
 *   }
 *
 * A step changes nothing when the work has changed since it was asked for. A row that is listed too late or twice does
 * no harm: a row that is stale was there before its range.
 */
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { moveReferences, putSlices, rowsOf } from "./slot-rows.js";

/** Slots in one step. */
export const SWEEP_SLOTS = 64;

const ROWS_PER_STEP = 512;

/** Slots first..end of the file are to be looked at; seq undefined: the file is gone and all of them are dropped. */
export interface SweepWork {
  readonly ino: number;
  readonly first: number;
  readonly end: number;
  readonly seq: number | undefined;
}

/** What exists of a range: these slots, and no others below `upTo`. */
export interface SweepListing {
  readonly slots: readonly number[];
  readonly upTo: number;
}

/** What is to be done next for this file; undefined: nothing. */
export function sweepWork(tx: Tx, ino: number): SweepWork | undefined {
  const row = tx.get(key.sweep(ino));
  if (row === undefined) return undefined;
  if (row.remove) return { ino, first: row.firstSlot, end: row.endSlot, seq: undefined };
  const range = row.ranges[0];
  return range === undefined ? undefined : { ino, ...range };
}

/** Drops a bounded number of the listed slots; false when this file is done. */
export function sweepStep(tx: Tx, work: SweepWork, { slots, upTo }: SweepListing): boolean {
  const now = sweepWork(tx, work.ino);
  if (now === undefined) return false;
  if (now.first !== work.first || now.end !== work.end || now.seq !== work.seq) return true;
  const end = dropListed(tx, work, { slots, upTo });
  return work.seq === undefined ? advanceRemoval(tx, work, end) : advanceRange(tx, work, end);
}

/** Returns the slot where the next step starts. */
function dropListed(tx: Tx, work: SweepWork, { slots, upTo }: SweepListing): number {
  tx.preload?.(slots.map((slot) => key.slot(work.ino, slot)));
  let rows = 0;
  for (const slot of slots) {
    const row = tx.get(key.slot(work.ino, slot));
    if (row === undefined || (work.seq !== undefined && row.seq >= work.seq)) continue;
    rows += rowsOf(row.slices);
    if (rows > ROWS_PER_STEP && slot !== slots[0]) return slot;
    dropOne(tx, work, slot);
  }
  return upTo;
}

function dropOne(tx: Tx, { ino, seq }: SweepWork, slot: number): void {
  const inode = tx.get(key.inode(ino));
  if (seq !== undefined && inode !== undefined) {
    tx.put(key.inode(ino), putSlices(tx, inode, slot, []));
    return;
  }
  const at = key.slot(ino, slot);
  moveReferences(tx, { ino, version: 0 }, tx.get(at)?.slices ?? [], []);
  tx.del(at);
}

function advanceRemoval(tx: Tx, { ino, end }: SweepWork, first: number): boolean {
  if (first >= end) tx.del(key.sweep(ino));
  else tx.put(key.sweep(ino), { ino, firstSlot: first, endSlot: end, remove: true, ranges: [] });
  return first < end;
}

function advanceRange(tx: Tx, { ino, end }: SweepWork, first: number): boolean {
  const row = tx.get(key.sweep(ino));
  const inode = tx.get(key.inode(ino));
  if (row === undefined || inode === undefined) return false;
  const [range, ...later] = row.ranges;
  const ranges = range !== undefined && first < end ? [{ ...range, first }, ...later] : later;
  if (ranges.length > 0) {
    tx.put(key.sweep(ino), { ...row, ranges });
    return true;
  }
  tx.del(key.sweep(ino));
  tx.put(key.inode(ino), { ...inode, sweeping: false });
  return false;
}
