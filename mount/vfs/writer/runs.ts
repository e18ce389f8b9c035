import { Block, type Budget } from "./budget.js";

/** Bytes pos..pos+len of the file are bytes off..off+len of the block. */
export interface Run {
  pos: number;
  len: number;
  block: Block;
  off: number;
  /** trunc_seq of the file when they were written. */
  readonly seq: number;
  /** The job that stores them; 0: none yet. */
  job: number;
}

/** A run that is written on gets so many times its room, memory permitting: a slot filled by the kernel moves once. */
const GROWTH = 8;

export interface Gap {
  readonly pos: number;
  readonly len: number;
}

/**
 * The bytes of one file that were written here and are not committed: what this mount reads on top of the stored file.
 *
 * Invariants:
 * - Ordered by position, without overlaps, none across a slot boundary.
 * - The bytes of a run that has a job never change: later writes to its range replace it.
 * - Every run holds its block.
 */
export class Runs {
  #list: Run[] = [];

  constructor(
    private readonly budget: Budget,
    private readonly slotSize: number,
  ) {}

  get count(): number {
    return this.#list.length;
  }

  /** One past the last byte that was written under this trunc_seq or a later one; 0 when there is none. */
  endSince(seq: number): number {
    const last = this.#list.findLast((run) => run.seq >= seq);
    return last === undefined ? 0 : last.pos + last.len;
  }

  hasOlderThan(seq: number): boolean {
    return this.#list.some((run) => run.seq < seq);
  }

  /** Runs without a job that begin before `before`, in order. */
  idle(before = Infinity): Run[] {
    return this.#list.filter((run) => run.job === 0 && run.pos < before);
  }

  /** Whether runs without a job cover the slot. */
  coversSlot(slot: number): boolean {
    const start = slot * this.slotSize;
    let covered = 0;
    for (let i = this.#firstFrom(start); i < this.#list.length; i++) {
      const run = this.#list[i];
      if (run === undefined || run.pos >= start + this.slotSize) break;
      if (run.job === 0) covered += run.len;
    }
    return covered === this.slotSize;
  }

  write(pos: number, data: Buffer, seq: number): void {
    for (let done = 0; done < data.length;) {
      const at = pos + done;
      const room = this.slotSize - (at % this.slotSize);
      const piece = data.subarray(done, done + room);
      if (!this.#extend(at, piece, seq)) this.#insert(at, piece, seq);
      done += piece.length;
    }
  }

  /** Forgets bytes from..to. */
  cut(from: number, to = Infinity): void {
    const first = this.#firstFrom(from);
    const kept: Run[] = [];
    let i = first;
    for (; i < this.#list.length; i++) {
      const run = this.#list[i];
      if (run === undefined || run.pos >= to) break;
      kept.push(...without(run, from, to));
    }
    if (i > first) this.#list.splice(first, i - first, ...kept);
  }

  /** Forgets what the job has stored, except what was overwritten since. */
  settle(job: number): void {
    this.#list = this.#list.filter((run) => {
      if (run.job !== job) return true;
      run.block.drop();
      return false;
    });
  }

  clear(): void {
    const list = this.#list;
    this.#list = [];
    for (const run of list) run.block.drop();
  }

  /** What was written under `from` now counts as written under `into`. */
  retag(from: number, into: number): void {
    this.#list = this.#list.map((run) => (run.seq === from ? { ...run, seq: into } : run));
  }

  /** Copies the bytes from `pos` on into the target and returns what is not here, in order. */
  copyInto(target: Buffer, pos: number): Gap[] {
    const end = pos + target.length;
    const gaps: Gap[] = [];
    let at = pos;
    for (let i = this.#firstFrom(pos); i < this.#list.length && at < end; i++) {
      const run = this.#list[i];
      if (run === undefined || run.pos >= end) break;
      const start = Math.max(run.pos, at);
      if (start > at) gaps.push({ pos: at, len: start - at });
      const stop = Math.min(run.pos + run.len, end);
      const off = run.off + start - run.pos;
      run.block.bytes.copy(target, start - pos, off, off + stop - start);
      at = stop;
    }
    if (at < end) gaps.push({ pos: at, len: end - at });
    return gaps;
  }

  /** Writes into, or at the end of, a run that has no job; false: there is no such run, or no room. */
  #extend(pos: number, data: Buffer, seq: number): boolean {
    const run = this.#list[this.#firstFrom(pos - 1)];
    if (run === undefined || run.job !== 0 || run.seq !== seq || run.pos > pos || run.pos + run.len < pos) return false;
    if (Math.floor(run.pos / this.slotSize) !== Math.floor(pos / this.slotSize)) return false;
    const len = pos + data.length - run.pos;
    if (len > run.len) {
      const canGrow = run.off + run.len === run.block.used && run.off + len <= run.block.bytes.length;
      if (!canGrow && !this.#move(run, len)) return false;
      this.cut(run.pos + run.len, run.pos + len);
      run.block.used = run.off + len;
      run.len = len;
    }
    data.copy(run.block.bytes, run.off + pos - run.pos);
    return true;
  }

  /** Gives the run a block of its own with room for `len` bytes and some more; false: no memory for that. */
  #move(run: Run, len: number): boolean {
    const room = this.slotSize - (run.pos % this.slotSize);
    const capacity = [GROWTH * run.len, 2 * run.len]
      .map((wanted) => Math.min(room, Math.max(len, wanted)))
      .find((wanted) => this.budget.fits(wanted));
    if (capacity === undefined) return false;
    const block = new Block(this.budget, capacity);
    run.block.bytes.copy(block.bytes, 0, run.off, run.off + run.len);
    block.used = run.len;
    run.block.drop();
    run.block = block;
    run.off = 0;
    return true;
  }

  #insert(pos: number, data: Buffer, seq: number): void {
    this.cut(pos, pos + data.length);
    const block = new Block(this.budget, data.length);
    data.copy(block.bytes);
    block.used = data.length;
    this.#list.splice(this.#firstFrom(pos), 0, { pos, len: data.length, block, off: 0, seq, job: 0 });
  }

  /** Index of the first run that ends after `pos`. */
  #firstFrom(pos: number): number {
    let low = 0;
    let high = this.#list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const run = this.#list[middle];
      if (run !== undefined && run.pos + run.len <= pos) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The run without bytes from..to; takes over its hold on the block. */
function without(run: Run, from: number, to: number): Run[] {
  const end = run.pos + run.len;
  const left = run.pos < from ? [{ ...run, len: Math.min(end, from) - run.pos }] : [];
  const right =
    end > to
      ? [
          {
            ...run,
            pos: Math.max(run.pos, to),
            len: end - Math.max(run.pos, to),
            off: run.off + Math.max(run.pos, to) - run.pos,
          },
        ]
      : [];
  if (left.length + right.length === 2) run.block.hold();
  if (left.length + right.length === 0) run.block.drop();
  return [...left, ...right];
}
