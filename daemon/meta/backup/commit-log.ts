/**
 * The commits of this life of the daemon that storage nodes do not have yet, in order. Bounded: when more wait than
 * there is room for, all of them are let go, and only a snapshot can follow (`isBroken`).
 */
import { LogBatches, type LogBatch } from "../../../proto/gen/bigfs/v1/backup.js";
import type { BackupHeader } from "../../../proto/gen/bigfs/v1/backup.js";
import { fail } from "../../../proto/errno.js";
import type { Clock } from "../../common/clock.js";
import type { Batch } from "../metastore.js";
import { backupRow, endFrame, headerFrame, mustCount, type Backup } from "./dump.js";
import { writeFrames, type Frame } from "./frames.js";

export interface LoggedBatch extends Batch {
  readonly seq: number;
}

interface Waiting extends LoggedBatch {
  readonly bytes: number;
  readonly sinceMs: number;
}

/** Bytes of keys and values in one segment, roughly, and in one of its frames. */
const SEGMENT_BYTES = 8 * 1024 * 1024;
const FRAME_BYTES = 512 * 1024;

export class CommitLog {
  #waiting: Waiting[] = [];
  #bytes = 0;
  #isBroken = false;

  constructor(
    private readonly clock: Pick<Clock, "monotonicMs">,
    private readonly opts: { readonly bytesMax: number },
  ) {}

  /** A commit is on disk. Costs next to nothing: rows are not copied. */
  add(batch: LoggedBatch): void {
    let bytes = 0;
    for (const [key, value] of batch.puts) bytes += key.length + value.length;
    for (const key of batch.dels) bytes += key.length;
    if (this.#bytes + bytes > this.opts.bytesMax) {
      this.#waiting = [];
      this.#bytes = 0;
      this.#isBroken = true;
    }
    if (bytes > this.opts.bytesMax) return;
    this.#waiting.push({ ...batch, puts: batch.puts, dels: batch.dels, bytes, sinceMs: this.clock.monotonicMs() });
    this.#bytes += bytes;
  }

  /** Commits are missing since the last `mend`. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** A snapshot that begins now has what is missing. */
  mend(): void {
    this.#isBroken = false;
  }

  /** Age of the oldest commit that waits, milliseconds; 0: none does. */
  get lagMs(): number {
    const [oldest] = this.#waiting;
    return oldest === undefined ? 0 : this.clock.monotonicMs() - oldest.sinceMs;
  }

  /** The oldest that wait, without a gap, as many as go into one segment; they go on waiting. */
  next(): readonly LoggedBatch[] {
    let bytes = 0;
    let count = 0;
    for (const batch of this.#waiting) {
      const before = this.#waiting[count - 1];
      if (count > 0 && (bytes + batch.bytes > SEGMENT_BYTES || before?.seq !== batch.seq - 1)) break;
      bytes += batch.bytes;
      count++;
    }
    return this.#waiting.slice(0, count);
  }

  /** Storage nodes have these commits and all before them. */
  shipped(last: number): void {
    const kept = this.#waiting.findIndex(({ seq }) => seq > last);
    const gone = this.#waiting.splice(0, kept < 0 ? this.#waiting.length : kept);
    for (const { bytes } of gone) this.#bytes -= bytes;
  }
}

/** Commits as the bytes of a file. */
export async function writeSegment(header: BackupHeader, batches: readonly LoggedBatch[]): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of writeFrames(segmentFrames(header, batches))) parts.push(part);
  return Buffer.concat(parts);
}

function* segmentFrames(header: BackupHeader, batches: readonly LoggedBatch[]): Generator<Frame> {
  yield headerFrame(header);
  let block: LogBatch[] = [];
  let bytes = 0;
  const flush = (): Frame => {
    const payload = Buffer.from(LogBatches.encode({ batches: block }).finish());
    block = [];
    bytes = 0;
    return { kind: "batches", payload };
  };
  for (const { seq, puts, dels } of batches) {
    block.push({
      seq,
      puts: Array.from(puts, ([key, value]) => backupRow({ key, value })),
      dels: Array.from(dels, (key) => Buffer.from(key, "latin1")),
    });
    for (const value of puts.values()) bytes += value.length;
    if (bytes >= FRAME_BYTES) yield flush();
  }
  if (block.length > 0) yield flush();
  yield endFrame(batches.length);
}

/** All commits of a segment, which is in memory as a whole. EBADMSG unless it is one, and whole. */
export async function readSegment({ frames }: Backup): Promise<LoggedBatch[]> {
  const found: LoggedBatch[] = [];
  for await (const { kind, payload } of frames) {
    if (kind === "end") mustCount(payload, found.length);
    else if (kind !== "batches") fail("EBADMSG", "it is no segment of a log");
    else
      for (const { seq, puts, dels } of LogBatches.decode(payload).batches) {
        found.push({
          seq,
          puts: new Map(puts.map(({ key, value }) => [key.toString("latin1"), value])),
          dels: new Set(dels.map((key) => key.toString("latin1"))),
        });
      }
  }
  if (found.some(({ seq }, i) => i > 0 && seq !== (found[i - 1]?.seq ?? 0) + 1))
    fail("EBADMSG", "its commits are not in order");
  return found;
}
