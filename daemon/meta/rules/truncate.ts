/**
 * Cutting bytes out of files. What is more than one operation may change is left to the sweep: those slots count as
 * absent from now on, although their rows are still there (see isStale).
 */
import type { SweepRange } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { LIMITS } from "../../../proto/limits.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import type { Context } from "./context.js";
import { withCut } from "./cuts.js";
import { type Inode, changeUsage } from "./inodes.js";
import { type Budget, newBudget } from "./references.js";
import { withoutRange } from "./slices.js";
import { liveSlices, preloadSlots, putSlices, sweepOf } from "./slot-rows.js";

/** More slots than this are left to the sweep (each one costs a load when it is not in memory). */
export const SLOTS_AT_ONCE = 64;

const SWEEP_RANGES_MAX = 64;

/** The row, not put, with this size. Every truncation cuts what was written before it, also where the file grows. */
export function resized(tx: Tx, ctx: Context, inode: Inode, size: number): Inode {
  if (size > LIMITS.fileSizeMax) fail("EFBIG");
  const cut = withCut(inode, { from: size, to: Infinity });
  const rest = size < inode.size ? withoutBytes(tx, ctx, cut, size, inode.size) : cut;
  changeUsage(tx, { bytes: size - inode.size });
  return { ...rest, size };
}

/** The row, not put, with bytes from..to turned into a hole. */
export function punched(tx: Tx, ctx: Context, inode: Inode, from: number, to: number): Inode {
  return withoutBytes(tx, ctx, withCut(inode, { from, to }), from, Math.min(to, inode.size));
}

function withoutBytes(tx: Tx, { volume: { chunkSize } }: Context, inode: Inode, from: number, to: number): Inode {
  if (from >= to) return inode;
  const budget = newBudget();
  const first = Math.ceil(from / chunkSize);
  // A slot that the end of the file lies in goes as a whole: nothing of it is beyond.
  const end = to >= inode.size ? Math.ceil(to / chunkSize) : Math.floor(to / chunkSize);
  const clear = (row: Inode, slot: number, pos: number, stop: number): Inode => {
    const slices = liveSlices(tx, row, slot);
    return slices.length === 0 ? row : putSlices(tx, row, slot, withoutRange(slices, pos, stop), budget);
  };
  if (first > end) return clear(inode, first - 1, from % chunkSize, to % chunkSize);
  let row = inode;
  if (from % chunkSize !== 0) row = clear(row, first - 1, from % chunkSize, chunkSize);
  if (end * chunkSize < to) row = clear(row, end, 0, to % chunkSize);
  return withoutSlots(tx, row, first, end, budget);
}

function withoutSlots(tx: Tx, inode: Inode, first: number, end: number, budget: Budget): Inode {
  const stop = Math.min(end, inode.slotEnd);
  const slotEnd = end >= inode.slotEnd ? Math.min(first, inode.slotEnd) : inode.slotEnd;
  const atOnce = stop - first <= SLOTS_AT_ONCE;
  if (atOnce) preloadSlots(tx, inode.ino, first, stop);
  let row = inode;
  let slot = first;
  for (; atOnce && slot < stop && budget.rows > 0; slot++) {
    if (liveSlices(tx, row, slot).length > 0) row = putSlices(tx, row, slot, [], budget);
  }
  if (slot < stop) row = leftToSweep(tx, row, slot, stop);
  return { ...row, slotEnd };
}

function leftToSweep(tx: Tx, inode: Inode, first: number, end: number): Inode {
  const sweep = sweepOf(tx, inode.ino);
  const fresh = { first, end, seq: inode.truncSeq };
  const ranges = [...sweep.ranges.flatMap((range) => outside(range, fresh)), fresh].sort((a, b) => a.first - b.first);
  if (ranges.length > SWEEP_RANGES_MAX) fail("EAGAIN", `inode ${inode.ino}: earlier changes are still being swept`);
  tx.put(key.sweep(inode.ino), { ...sweep, ranges });
  return { ...inode, sweeping: true };
}

/** The parts of a range that lie outside of another. */
function outside(range: SweepRange, other: SweepRange): SweepRange[] {
  const left = { ...range, end: Math.min(range.end, other.first) };
  const right = { ...range, first: Math.max(range.first, other.end) };
  return [left, right].filter((one) => one.first < one.end);
}
