/**
 * The long work that changes and removals of big files leave behind (SweepRow). A rule cannot search, so whoever runs it
 * asks for the work, lists the slot rows that exist there, and hands them to the next step:
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
import type { InodeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import type { Inode } from "./inodes.js";
import { type Budget, dropReferences } from "./references.js";
import { dropSlot, preloadSlots, putSlices, sweepOf } from "./slot-rows.js";

/** Slots in one step. */
export const SWEEP_SLOTS = 64;

const ROWS_PER_STEP = 512;

/** Slots first..end of the file are to be looked at. */
export interface SweepWork {
  readonly ino: number;
  readonly first: number;
  readonly end: number;
  readonly what:
    /** The file is gone: all slots go. */
    | "remove"
    /** Slots older than `seq` go. */
    | "stale"
    /** A living slot has references to drop. */
    | "loose";
  readonly seq: number;
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
  if (row.remove) return { ino, first: row.firstSlot, end: row.endSlot, what: "remove", seq: 0 };
  const [range] = row.ranges;
  if (range !== undefined) return { ino, ...range, what: "stale" };
  const [slot] = row.loose;
  return slot === undefined ? undefined : { ino, first: slot, end: slot + 1, what: "loose", seq: 0 };
}

/** Does a bounded part of the work; false when this file is done. */
export function sweepStep(tx: Tx, work: SweepWork, listing: SweepListing): boolean {
  const now = sweepWork(tx, work.ino);
  if (now === undefined) return false;
  const changed = now.first !== work.first || now.end !== work.end || now.what !== work.what || now.seq !== work.seq;
  if (changed) return true;
  const budget = { rows: ROWS_PER_STEP };
  if (work.what === "remove") return removeStep(tx, work, listing, budget);
  const inode = tx.get(key.inode(work.ino));
  if (inode === undefined) throw new Error(`inode ${work.ino} is swept and does not exist`);
  return work.what === "loose" ? looseStep(tx, inode, work, budget) : staleStep(tx, inode, work, listing, budget);
}

function removeStep(tx: Tx, { ino, end }: SweepWork, { slots, upTo }: SweepListing, budget: Budget): boolean {
  tx.preload?.(slots.map((slot) => key.slot(ino, slot)));
  const first = slots.find((slot) => !dropSlot(tx, ino, slot, budget)) ?? upTo;
  if (first >= end) tx.del(key.sweep(ino));
  else tx.put(key.sweep(ino), { ...sweepOf(tx, ino), firstSlot: first });
  return first < end;
}

function staleStep(tx: Tx, inode: Inode, work: SweepWork, { slots, upTo }: SweepListing, budget: Budget): boolean {
  tx.preload?.(slots.map((slot) => key.slot(inode.ino, slot)));
  let row = inode;
  let first = upTo;
  for (const slot of slots) {
    const stale = (tx.get(key.slot(inode.ino, slot))?.seq ?? Infinity) < work.seq;
    if (!stale) continue;
    if (budget.rows <= 0) {
      first = slot;
      break;
    }
    row = putSlices(tx, row, slot, [], budget);
  }
  const sweep = sweepOf(tx, inode.ino);
  const [range, ...later] = sweep.ranges;
  const rest = range !== undefined && first < work.end ? [{ ...range, first }, ...later] : later;
  return settle(tx, row, { ...sweep, ranges: rest });
}

function looseStep(tx: Tx, inode: Inode, { first: slot }: SweepWork, budget: Budget): boolean {
  preloadSlots(tx, inode.ino, slot, slot + 1);
  const at = key.slot(inode.ino, slot);
  const row = tx.get(at);
  const change = { ino: inode.ino, version: inode.version };
  const dropped = dropReferences(tx, change, row?.dropped ?? [], budget);
  if (row !== undefined && row.slices.length + dropped.length > 0) tx.put(at, { ...row, dropped });
  else if (row !== undefined) tx.del(at);
  const sweep = sweepOf(tx, inode.ino);
  return settle(tx, inode, dropped.length > 0 ? sweep : { ...sweep, loose: sweep.loose.slice(1) });
}

/** Puts what is left of the work; false when nothing is. */
function settle(tx: Tx, inode: Inode, sweep: ReturnType<typeof sweepOf>): boolean {
  const busy = sweep.ranges.length + sweep.loose.length > 0;
  if (busy) tx.put(key.sweep(inode.ino), { ...sweep });
  else tx.del(key.sweep(inode.ino));
  const swept: InodeRow = { ...inode, sweeping: busy };
  tx.put(key.inode(inode.ino), swept);
  return busy;
}
