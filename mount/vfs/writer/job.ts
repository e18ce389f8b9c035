import type { SliceAt } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Slice } from "../../../proto/gen/bigfs/v1/rows.js";
import { type Plan, slicesOf } from "./plan.js";
import type { Run } from "./runs.js";

/** Bytes on their way: one chunk, or inline slices. */
export class Job {
  /** What to commit, in order; undefined: not stored yet. */
  slices: SliceAt[] | undefined;
  error: Error | undefined;
  /** Resolves when `slices` or `error` is there; never rejects. */
  stored: Promise<void> = Promise.resolve();
  /** trunc_seq of the file when the bytes were written. */
  seq: number;
  #limit = Infinity;

  constructor(
    readonly id: number,
    readonly plan: Plan,
    private readonly slotSize: number,
  ) {
    const runs = this.#runs();
    for (const run of runs) run.block.hold();
    this.seq = runs[0]?.seq ?? 0;
  }

  /** Bytes from `size` on shall not become part of the file. */
  cutAt(size: number): void {
    this.#limit = Math.min(this.#limit, size);
  }

  storedAs(chunk: number): void {
    this.slices = slicesOf(this.plan, this.slotSize, chunk);
  }

  /** The slices as far as they were not cut since. */
  toCommit(): SliceAt[] {
    return (this.slices ?? []).flatMap(({ slot, slice }) => {
      if (slice === undefined) return [];
      const len = Math.min(slice.len, this.#limit - (slot * this.slotSize + slice.pos));
      return len > 0 ? [{ slot, slice: shortened(slice, len) }] : [];
    });
  }

  /** Gives the memory back. */
  release(): void {
    for (const run of this.#runs()) run.block.drop();
  }

  #runs(): Run[] {
    return this.plan.ranges.flatMap((range) => range.runs);
  }
}

function shortened(slice: Slice, len: number): Slice {
  return len === slice.len ? slice : { ...slice, len, inline: slice.inline.subarray(0, len) };
}
