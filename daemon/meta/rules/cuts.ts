/**
 * Which bytes a late commit must not bring back. Every truncation or punch raises trunc_seq and leaves a cut; a commit
 * made against an older trunc_seq gets the same cuts before it counts.
 *
 * Invariants of InodeRow.cuts: seq ascends; no cut lies within a later one (the later one says it all). When there are
 * too many, the two oldest become one that covers both, and cut_floor is the seq below which that is a guess.
 */
import type { Cut } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import type { Inode } from "./inodes.js";

const CUTS_MAX = 32;

/** Bytes from..to of a file. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** The row with trunc_seq raised and bytes from..to (Infinity: everything from there on) cut out for older commits. */
export function withCut(inode: Inode, { from, to }: Span): Inode {
  const truncSeq = inode.truncSeq + 1;
  const others = inode.cuts.filter((cut) => cut.from < from || endOf(cut) > to);
  const cuts = [...others, { seq: truncSeq, from, to: to === Infinity ? 0 : to }];
  const [oldest, next, ...rest] = cuts;
  if (cuts.length <= CUTS_MAX || oldest === undefined || next === undefined) return { ...inode, truncSeq, cuts };
  const end = Math.max(endOf(oldest), endOf(next));
  const merged = { seq: next.seq, from: Math.min(oldest.from, next.from), to: end === Infinity ? 0 : end };
  return { ...inode, truncSeq, cuts: [merged, ...rest], cutFloor: next.seq };
}

/**
 * What is left of bytes from..to that were written when trunc_seq was `seq`, in order. EIO when so many truncations have
 * happened since that it cannot be told (see cut_floor).
 */
export function spansLeft(inode: Inode, seq: number, span: Span): Span[] {
  let spans: Span[] = [span];
  for (const cut of inode.cuts) {
    if (cut.seq <= seq) continue;
    const left = spans.flatMap((one) => without(one, cut));
    const touched = sum(left) !== sum(spans);
    if (touched && seq < inode.cutFloor && cut.seq === inode.cutFloor) {
      fail("EIO", `inode ${inode.ino}: written before more truncations than are remembered`);
    }
    spans = left;
  }
  return spans;
}

/** The size that a commit made against `seq` may still grow the file to. */
export function sizeLeft(inode: Inode, seq: number, size: number): number {
  const ends = inode.cuts.filter((cut) => cut.seq > seq && cut.to === 0).map((cut) => cut.from);
  return Math.min(size, ...ends);
}

function endOf(cut: Cut): number {
  return cut.to === 0 ? Infinity : cut.to;
}

function without(span: Span, cut: Cut): Span[] {
  const left = { from: span.from, to: Math.min(span.to, cut.from) };
  const right = { from: Math.max(span.from, endOf(cut)), to: span.to };
  return [left, right].filter((one) => one.from < one.to);
}

function sum(spans: readonly Span[]): number {
  return spans.reduce((bytes, span) => bytes + span.to - span.from, 0);
}
