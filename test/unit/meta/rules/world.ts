import { Commit, type Cred } from "../../../../proto/gen/bigfs/v1/meta.js";
import type { InodeRow, Slice, Time } from "../../../../proto/gen/bigfs/v1/rows.js";
import { type Errno, FsError } from "../../../../proto/errno.js";
import { LIMITS } from "../../../../proto/limits.js";
import { overlay } from "../../../../daemon/common/overlay.js";
import { key } from "../../../../daemon/meta/keys.js";
import { beginDelete, registerChunk, syncedChunk } from "../../../../daemon/meta/rules/chunks.js";
import type { Context } from "../../../../daemon/meta/rules/context.js";
import { reapOrphan } from "../../../../daemon/meta/rules/drop.js";
import { OPERATIONS, type OpArgs, type OpResult, type RuleName } from "../../../../daemon/meta/rules/operations.js";
import { rangeOf, takeChunkRange } from "../../../../daemon/meta/rules/ranges.js";
import {
  SWEEP_SLOTS,
  type SweepListing,
  type SweepWork,
  sweepStep,
  sweepWork,
} from "../../../../daemon/meta/rules/sweep.js";
import { ROOT_INO, createVolume } from "../../../../daemon/meta/rules/volume.js";
import { MemoryRows } from "../../../helpers/memory-tx.js";

export const ROOT: Cred = { uid: 0, gid: 0, groups: [], checked: false };

export const NOBODY_SLICE = { chunk: 0, off: 0, inline: Buffer.alloc(0) };

/** One session on a volume of slots of 16 bytes, with three nodes that all live. */
export class World {
  readonly rows: MemoryRows;
  readonly open = new Set<number>();
  readonly deadNodes = new Set<number>();
  readonly contents = new Map<number, Buffer>();
  who: Cred = ROOT;
  readOnly = false;
  session = 7;
  clock = 1000;
  readonly chunkSize: number;
  #nextIno = 100;
  #nextChunk = 0;

  constructor(opts: { cold?: boolean; chunkSize?: number } = {}) {
    this.rows = new MemoryRows(opts);
    this.chunkSize = opts.chunkSize ?? 16;
    const made = { uuid: "u", chunkSize: 65536, replicas: 2, minReplicas: 2, uid: 0, gid: 0 };
    this.rows.run((tx) => createVolume(tx, { ...made, now: this.now }));
    const session = { id: 7, name: "", started: this.now, readOnly: false, ended: false, endedServedSec: 0 };
    this.rows.run((tx) => {
      tx.put(key.session(7), session);
    });
  }

  get now(): Time {
    return { sec: this.clock, nsec: 0 };
  }

  /** Runs the operation; throws its FsError. Time moves on by a second. */
  op<C extends RuleName>(name: C, args: OpArgs<C>): OpResult<C> {
    this.clock += 1;
    let ino = this.#nextIno;
    const result = this.rows.run((tx) => {
      ino = this.#nextIno;
      return OPERATIONS[name](
        tx,
        this.#context(() => ino++),
        args,
      );
    });
    this.#nextIno = ino;
    return result;
  }

  /** The operation's errno; "" when it succeeds. */
  errno(fn: () => unknown): Errno | "" {
    try {
      fn();
      return "";
    } catch (error) {
      if (error instanceof FsError) return error.errno;
      throw error;
    }
  }

  make(name: string, opts: { dir?: number; mode?: number; target?: string; umask?: number } = {}): number {
    const { dir = ROOT_INO, mode = 0o100644, target = "", umask = 0 } = opts;
    const rest = { rdev: 0, open: false, exclusive: true, truncate: false, umask, access: 0 };
    const made = this.op("make", { dir, name: bytes(name), mode, target: bytes(target), ...rest });
    return made.attr?.ino ?? 0;
  }

  inode(ino: number): Readonly<InodeRow> {
    const row = this.rows.get(key.inode(ino));
    if (row === undefined) throw new Error(`inode ${ino} is gone`);
    return row;
  }

  /** A registered chunk with these bytes, AVAILABLE on nodes 1 and 2. */
  store(data: Buffer): number {
    if (rangeOf(this.#nextChunk) === this.#nextChunk)
      this.#nextChunk = this.rows.run((tx) => takeChunkRange(tx, 7)).first;
    const chunk = this.#nextChunk++;
    const copies = { nodes: [1, 2], synced: [], pending: [3] };
    this.rows.run((tx) => registerChunk(tx, { chunk, len: data.length, crc: 1, ...copies }));
    this.contents.set(chunk, data);
    return chunk;
  }

  /** Commits bytes at an offset, as one chunk, in as few commits as may be. */
  write(ino: number, off: number, data: Buffer, opts: { truncSeq?: number; inline?: boolean } = {}): void {
    const all = opts.inline === true ? this.inlineAt(off, data) : this.chunkAt(off, data);
    const { truncSeq = this.inode(ino).truncSeq } = opts;
    for (let i = 0; i < all.length; i += LIMITS.slicesPerCommit) {
      const slices = all.slice(i, i + LIMITS.slicesPerCommit);
      this.commit(ino, { slices, sizeAtLeast: off + data.length, truncSeq });
    }
  }

  commit(ino: number, args: Partial<OpArgs<"commit">>): OpResult<"commit"> {
    const base = Commit.create({ ino, truncSeq: this.inode(ino).truncSeq });
    return this.op("commit", { ...base, ...args });
  }

  chunkAt(off: number, data: Buffer): { slot: number; slice: Slice }[] {
    const chunk = this.store(data);
    return pieces(this.chunkSize, off, data.length).map(({ slot, pos, len, done }) => {
      return { slot, slice: { ...NOBODY_SLICE, pos, len, chunk, off: done } };
    });
  }

  inlineAt(off: number, data: Buffer): { slot: number; slice: Slice }[] {
    return pieces(this.chunkSize, off, data.length).map(({ slot, pos, len, done }) => {
      return { slot, slice: { ...NOBODY_SLICE, pos, len, inline: data.subarray(done, done + len) } };
    });
  }

  truncate(ino: number, size: number): void {
    this.op("setattr", { ...NO_CHANGE, ino, size });
  }

  /** The whole file, as a reader puts it together from slots and chunks. */
  read(ino: number): Buffer {
    const { size } = this.inode(ino);
    const data = Buffer.alloc(size);
    for (let first = 0; first * this.chunkSize < size; first += 64) {
      const reply = this.op("slots", { ino, first, count: 64 });
      for (const { slot, slices } of reply.slots) {
        for (const run of overlay(slices, 0, this.chunkSize)) this.#fill(data, slot * this.chunkSize + run.pos, run);
      }
    }
    return data;
  }

  /** One step of the sweep, as its task does it; false when nothing is left to do. */
  sweep(ino: number): boolean {
    const work = this.sweepWork(ino);
    if (work === undefined) return false;
    const all = this.rows.of("S").filter(([at]) => at >= key.slot(ino, work.first) && at < key.slot(ino, work.end));
    const slots = all.map(([at]) => parseInt(at.slice(15), 16)).slice(0, SWEEP_SLOTS);
    const upTo = slots.length < SWEEP_SLOTS ? work.end : (slots.at(-1) ?? 0) + 1;
    return this.sweepStep(work, { slots, upTo });
  }

  sweepWork(ino: number): SweepWork | undefined {
    return this.rows.run((tx) => sweepWork(tx, ino));
  }

  sweepStep(work: SweepWork, listing: SweepListing): boolean {
    return this.rows.run((tx) => sweepStep(tx, work, listing));
  }

  reap(ino: number): boolean {
    return this.rows.run((tx) => reapOrphan(tx, ino));
  }

  synced(node: number, chunk: number): void {
    this.rows.run((tx) => syncedChunk(tx, node, chunk));
  }

  beginDelete(chunk: number): readonly number[] | undefined {
    return this.rows.run((tx) => beginDelete(tx, chunk, Infinity));
  }

  #fill(data: Buffer, at: number, run: { len: number; skip: number; slice: Slice | undefined }): void {
    if (run.slice === undefined) return;
    const { chunk, off, inline } = run.slice;
    const from = chunk === 0 ? inline : this.contents.get(chunk)?.subarray(off);
    if (from === undefined) throw new Error(`chunk ${chunk} does not exist`);
    from.copy(data, at, run.skip, run.skip + run.len);
  }

  #context(freshIno: () => number): Context {
    const { who, now, session, readOnly } = this;
    return {
      who,
      now,
      session,
      readOnly,
      freshIno,
      isOpen: (ino) => this.open.has(ino),
      isLive: (node) => !this.deadNodes.has(node),
      volume: { chunkSize: this.chunkSize, replicas: 2, minReplicas: 2 },
    };
  }
}

export const NO_CHANGE = { atime: undefined, mtime: undefined, atimeNow: false, mtimeNow: false };

export function bytes(name: string): Buffer {
  return Buffer.from(name, "latin1");
}

function pieces(
  chunkSize: number,
  off: number,
  len: number,
): { slot: number; pos: number; len: number; done: number }[] {
  const list = [];
  for (let done = 0; done < len;) {
    const pos = (off + done) % chunkSize;
    const part = Math.min(len - done, chunkSize - pos);
    list.push({ slot: Math.floor((off + done) / chunkSize), pos, len: part, done });
    done += part;
  }
  return list;
}
