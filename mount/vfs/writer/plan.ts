import type { SliceAt } from "../../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../../proto/limits.js";
import type { Run } from "./runs.js";

/** Bytes that one upload leaves in the metadata at most; more becomes a chunk. */
const INLINE_PER_UPLOAD = 4 * LIMITS.inlineMax;

/** Ranges in one packed chunk, so that what is stored together can be committed together. */
const RANGES_PER_CHUNK = LIMITS.slicesPerCommit / 2;

/** Bytes of the file next to each other in one slot, in one or more runs. */
export interface Range {
  readonly pos: number;
  readonly len: number;
  readonly runs: readonly Run[];
}

/** Ranges that are stored together. */
export interface Plan {
  readonly kind: "chunk" | "inline";
  readonly ranges: readonly Range[];
}

/**
 * How runs (in order) are stored: a slot that is filled by half or more gets a chunk of its own, smaller ranges share
 * chunks, tiny ones go into the metadata. The plans come in order of position and do not interleave, so that whoever
 * commits them in order never makes the file longer than what is stored.
 */
export function planUploads(runs: readonly Run[], slotSize: number): Plan[] {
  const slots = bySlot(rangesOf(runs, slotSize), slotSize);
  const isBig = (ranges: readonly Range[]): boolean => bytesOf(ranges) >= slotSize / 2;
  const tiny = slots
    .filter((ranges) => !isBig(ranges))
    .flat()
    .filter((range) => range.len <= LIMITS.inlineMax);
  const mayInline = bytesOf(tiny) <= INLINE_PER_UPLOAD && tiny.length <= RANGES_PER_CHUNK;

  const plans: OpenPlan[] = [];
  for (const ranges of slots) {
    const ofItsOwn = isBig(ranges);
    if (ofItsOwn) plans.push({ kind: "chunk", ranges: [], isOpen: true });
    for (const range of ranges) {
      const kind = !ofItsOwn && mayInline && range.len <= LIMITS.inlineMax ? "inline" : "chunk";
      const last = plans.at(-1);
      if (last !== undefined && fits(last, kind, range, slotSize)) last.ranges.push(range);
      else plans.push({ kind, ranges: [range], isOpen: true });
    }
    const last = plans.at(-1);
    if (ofItsOwn && last !== undefined) last.isOpen = false;
  }
  return plans;
}

interface OpenPlan {
  readonly kind: Plan["kind"];
  readonly ranges: Range[];
  /** More may be packed into it. */
  isOpen: boolean;
}

function fits(plan: OpenPlan, kind: Plan["kind"], range: Range, slotSize: number): boolean {
  if (!plan.isOpen || plan.kind !== kind || plan.ranges.length >= RANGES_PER_CHUNK) return false;
  return bytesOf(plan.ranges) + range.len <= slotSize;
}

/** Bytes of the plan in the order of its ranges; without a copy when they lie together in memory. */
export function payloadOf(plan: Plan): Buffer {
  const runs = plan.ranges.flatMap((range) => range.runs);
  const parts = runs.map((run) => run.block.bytes.subarray(run.off, run.off + run.len));
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
}

/** The slices that make the plan's bytes part of the file; `chunk` 0: inline. */
export function slicesOf(plan: Plan, slotSize: number, chunk: number): SliceAt[] {
  let off = 0;
  return plan.ranges.map((range) => {
    const inline = chunk === 0 ? Buffer.from(payloadOf({ kind: "inline", ranges: [range] })) : Buffer.alloc(0);
    const slice = { pos: range.pos % slotSize, len: range.len, chunk, off: chunk === 0 ? 0 : off, inline };
    off += range.len;
    return { slot: Math.floor(range.pos / slotSize), slice };
  });
}

function rangesOf(runs: readonly Run[], slotSize: number): Range[] {
  const ranges: Range[] = [];
  for (const run of runs) {
    const last = ranges.at(-1);
    const follows = last !== undefined && last.pos + last.len === run.pos && run.pos % slotSize !== 0;
    if (follows) ranges[ranges.length - 1] = { pos: last.pos, len: last.len + run.len, runs: [...last.runs, run] };
    else ranges.push({ pos: run.pos, len: run.len, runs: [run] });
  }
  return ranges;
}

function bySlot(ranges: readonly Range[], slotSize: number): Range[][] {
  const slots = new Map<number, Range[]>();
  for (const range of ranges) {
    const slot = Math.floor(range.pos / slotSize);
    const list = slots.get(slot);
    if (list === undefined) slots.set(slot, [range]);
    else list.push(range);
  }
  return [...slots.values()];
}

function bytesOf(ranges: readonly Range[]): number {
  return ranges.reduce((sum, range) => sum + range.len, 0);
}
