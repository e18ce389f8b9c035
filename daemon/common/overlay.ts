import type { Slice } from "../../proto/gen/bigfs/v1/rows.js";

/** A run of bytes of a slot and where they come from; `slice` undefined: a hole (zeros). */
export interface Extent {
  /** Position in the slot, bytes. */
  readonly pos: number;
  readonly len: number;
  readonly slice: Slice | undefined;
  /** Offset of the run's first byte in the slice (add slice.off for the chunk). */
  readonly skip: number;
}

/**
 * What a reader of bytes pos..pos+len of a slot sees: extents in order, without gaps or overlaps, covering exactly that
 * range. Slices apply in order, later ones win. Slices with neither chunk nor inline bytes are zeros (`slice` undefined).
 */
export function overlay(slices: readonly Slice[], pos: number, len: number): Extent[] {
  let runs: Extent[] = len > 0 ? [{ pos, len, slice: undefined, skip: 0 }] : [];
  for (const slice of slices) runs = runs.flatMap((run) => cover(run, slice));
  return join(runs);
}

/** What slices without zeros, in order and without overlaps, cover: spans of bytes that do not touch each other. */
export function spansOf(slices: readonly Slice[]): { readonly pos: number; readonly len: number }[] {
  const spans: { pos: number; len: number }[] = [];
  for (const { pos, len } of slices) {
    const last = spans.at(-1);
    if (last !== undefined && last.pos + last.len === pos) last.len += len;
    else spans.push({ pos, len });
  }
  return spans;
}

function cover(run: Extent, slice: Slice): Extent[] {
  const start = Math.max(run.pos, slice.pos);
  const end = Math.min(run.pos + run.len, slice.pos + slice.len);
  if (start >= end) return [run];
  const zeros = slice.chunk === 0 && slice.inline.length === 0;
  const parts: Extent[] = [];
  if (start > run.pos) parts.push({ ...run, len: start - run.pos });
  parts.push({ pos: start, len: end - start, slice: zeros ? undefined : slice, skip: start - slice.pos });
  if (end < run.pos + run.len) {
    parts.push({ pos: end, len: run.pos + run.len - end, slice: run.slice, skip: run.skip + end - run.pos });
  }
  return parts;
}

function join(runs: readonly Extent[]): Extent[] {
  const joined: Extent[] = [];
  for (const run of runs) {
    const last = joined.at(-1);
    const follows =
      last !== undefined && last.slice === run.slice && (run.slice === undefined || last.skip + last.len === run.skip);
    if (follows) joined[joined.length - 1] = { ...last, len: last.len + run.len };
    else joined.push(run.slice === undefined ? { ...run, skip: 0 } : run);
  }
  return joined;
}
