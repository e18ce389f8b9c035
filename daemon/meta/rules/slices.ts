/**
 * The slices of one slot as rows keep them: in order of position, without overlaps, without zeros (a hole is the absence
 * of a slice), joined where they follow each other. Reading such a list through overlay() gives the same bytes as the
 * list of everything that was ever written.
 */
import type { Slice } from "../../../proto/gen/bigfs/v1/rows.js";
import { spansOf } from "../../common/overlay.js";
import { LIMITS } from "../../../proto/limits.js";

const NOTHING = Buffer.alloc(0);

export function isZeros(slice: Slice): boolean {
  return slice.chunk === 0 && slice.inline.length === 0;
}

export function zeros(pos: number, len: number): Slice {
  return { pos, len, chunk: 0, off: 0, inline: NOTHING };
}

/** The part of the slice that lies in pos..end of the slot; undefined when none does. */
export function part(slice: Slice, pos: number, end: number): Slice | undefined {
  const from = Math.max(slice.pos, pos);
  const to = Math.min(slice.pos + slice.len, end);
  if (from >= to) return undefined;
  const skip = from - slice.pos;
  const inline = slice.inline.length === 0 ? slice.inline : slice.inline.subarray(skip, skip + to - from);
  return { pos: from, len: to - from, chunk: slice.chunk, off: slice.chunk === 0 ? 0 : slice.off + skip, inline };
}

/** The list with this slice on top. */
export function withSlice(slices: readonly Slice[], top: Slice): Slice[] {
  const end = top.pos + top.len;
  const before: Slice[] = [];
  const after: Slice[] = [];
  for (const slice of slices) {
    const left = part(slice, 0, top.pos);
    const right = part(slice, end, Infinity);
    if (left !== undefined) before.push(left);
    if (right !== undefined) after.push(right);
  }
  const middle = isZeros(top) ? [] : [top];
  return joined([...before, ...middle, ...after]);
}

/** The list without the bytes pos..end. */
export function withoutRange(slices: readonly Slice[], pos: number, end: number): Slice[] {
  return withSlice(slices, zeros(pos, end - pos));
}

/** Bytes that are not holes. */
export function coveredBytes(slices: readonly Slice[]): number {
  return slices.reduce((sum, slice) => sum + slice.len, 0);
}

/** Bytes that stand in the metadata. */
export function inlineBytes(slices: readonly Slice[]): number {
  return slices.reduce((sum, slice) => sum + slice.inline.length, 0);
}

/** Whether compaction would leave so many slices less that it is worth its work. */
export function isCrowded(slices: readonly Slice[]): boolean {
  return slices.length >= LIMITS.crowdedSlices && slices.length - spansOf(slices).length >= LIMITS.crowdedSlices / 2;
}

/** Whether both lists are the same, not only in what they show. */
export function sameSlices(a: readonly Slice[], b: readonly Slice[]): boolean {
  const same = (slice: Slice, i: number): boolean => {
    const other = b[i];
    if (other === undefined || slice.pos !== other.pos || slice.len !== other.len) return false;
    return slice.chunk === other.chunk && slice.off === other.off && slice.inline.equals(other.inline);
  };
  return a.length === b.length && a.every(same);
}

/** How many slices name each chunk. */
export function countChunks(slices: readonly Slice[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { chunk } of slices) {
    if (chunk !== 0) counts.set(chunk, (counts.get(chunk) ?? 0) + 1);
  }
  return counts;
}

function joined(slices: readonly Slice[]): Slice[] {
  const list: Slice[] = [];
  for (const slice of slices) {
    const last = list.at(-1);
    const both = last === undefined ? undefined : join(last, slice);
    if (both === undefined) list.push(slice);
    else list[list.length - 1] = both;
  }
  return list;
}

/** Two slices as one, when the second goes on where the first ends. */
function join(a: Slice, b: Slice): Slice | undefined {
  if (a.pos + a.len !== b.pos || a.chunk !== b.chunk) return undefined;
  const len = a.len + b.len;
  if (a.chunk !== 0) return a.off + a.len === b.off ? { ...a, len } : undefined;
  if (len > LIMITS.inlineMax) return undefined;
  return { ...a, len, inline: Buffer.concat([a.inline, b.inline]) };
}
