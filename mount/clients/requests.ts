import { FsError, errnoFromWire } from "../../proto/errno.js";
import type { ClientFrame, Cred, ServerFrame, Stamp } from "../../proto/gen/bigfs/v1/meta.js";
import type { Told } from "../vfs/ports.js";
import { asError } from "../vfs/waiting.js";

export type Op = NonNullable<ClientFrame["op"]>;
export type Answer = NonNullable<ServerFrame["op"]>;

/** Answered changes that are not on disk, at most; further requests wait. */
const RETAINED_MAX = 8192;
const RETAINED_BYTES = 16 * 1024 * 1024;

/** Unanswered requests, at most. */
const OPEN_MAX = 16_384;

/** What may be asked again in another session without harm. */
const READS: ReadonlySet<Op["$case"]> = new Set([
  "lookup",
  "getattr",
  "access",
  "readlink",
  "readdir",
  "statfs",
  "getxattrs",
  "slots",
  "alloc",
  "inodes",
]);

/**
 * They count on what the session had: places and chunks that it chose by its leases, where others may have written since,
 * and the locks that it held.
 */
const OF_THE_SESSION: ReadonlySet<Op["$case"]> = new Set(["commit", "compact", "lock"]);

export interface Request {
  readonly op: Op;
  readonly cred: Cred | undefined;
  readonly startMs: number;
  readonly bytes: number;
  /** Its effect was told before its answer. */
  readonly told: Told | undefined;
  /** 0: never sent in this session. */
  id: number;
  /** Who waits for the answer; undefined when it was told, or given up. */
  waiter: { readonly resolve: (answer: Answer) => void; readonly reject: (error: FsError) => void } | undefined;
  /** From the first answer: where it stands in the order of execution. */
  first: { readonly stream: number; readonly stamp: Stamp } | undefined;
  /** Durable when the watermark of the present stream has reached it; undefined: not answered on this stream. */
  batch: number | undefined;
}

interface DurableWaiter {
  /** Of what was ever retained, so many have to be released. */
  until: number;
  readonly startMs: number;
  readonly resolve: () => void;
  readonly reject: (error: FsError) => void;
}

export interface Resend {
  readonly request: Request;
  readonly replay: Stamp | undefined;
}

/**
 * The requests of one session.
 *
 * Invariants:
 * - `#open` holds every request that was sent and is not both answered and durable, by ascending id; so its first key is
 *   what the daemon must still know (oldest_open).
 * - `#retained` holds those of them that were answered, in the order of the answers. They are kept because a daemon that
 *   dies forgets what was not durable; the next one hears them again.
 * - Batch numbers belong to one life of the daemon: those of an earlier stream are void when a new one begins, and a
 *   retained request is released only by an answer and a watermark of the present stream.
 */
export class Requests {
  #nextId: number;
  #stream = 0;
  #durable = 0;
  #waiting: Request[] = [];
  readonly #open = new Map<number, Request>();
  #retained: Request[] = [];
  #retainedBytes = 0;
  /** How many were ever retained, and ever released. */
  #retainedCount = 0;
  #releasedCount = 0;
  #durableWaiters: DurableWaiter[] = [];

  constructor(firstId = 1) {
    this.#nextId = firstId;
  }

  /** So much is open that what is new has to wait. */
  get isFull(): boolean {
    const { length } = this.#retained;
    return length >= RETAINED_MAX || this.#retainedBytes >= RETAINED_BYTES || this.#open.size >= OPEN_MAX;
  }

  /** Answered and not durable. */
  get retained(): number {
    return this.#retained.length;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** The next id, for a message of the stream itself, which is not kept. */
  nextId(): number {
    return this.#nextId++;
  }

  /** The lowest id whose answer the daemon has to keep. */
  get oldestOpen(): number {
    const first = this.#open.keys().next();
    return first.done === true ? this.#nextId : first.value;
  }

  /** Waits to be sent. `take` is called with the answer in the turn in which it arrives. */
  add(
    op: Op,
    cred: Cred | undefined,
    nowMs: number,
    { told, take }: { readonly told?: Told | undefined; readonly take?: ((answer: Answer) => void) | undefined } = {},
  ): Promise<Answer> {
    return new Promise((done, reject) => {
      const resolve = (answer: Answer) => {
        try {
          take?.(answer);
          done(answer);
        } catch (error) {
          reject(asError(error));
        }
      };
      this.#waiting.push({
        op,
        cred,
        told,
        startMs: nowMs,
        bytes: weightOf(op),
        id: 0,
        waiter: { resolve, reject },
        first: undefined,
        batch: undefined,
      });
    });
  }

  /** What may be sent now for the first time, with its ids. */
  take(): Request[] {
    const taken: Request[] = [];
    while (!this.isFull) {
      const request = this.#waiting.shift();
      if (request === undefined) break;
      this.#opened(request);
      taken.push(request);
    }
    return taken;
  }

  /** Takes in an answer. "contradicted": a replay failed that had been answered with success. */
  answered(frame: ServerFrame): "expected" | "unknown" | "contradicted" {
    const request = this.#open.get(frame.id);
    if (request === undefined) return "unknown";
    const { stamp } = frame;
    const isReplay = request.first !== undefined;
    request.batch = stamp?.batch ?? 0;
    if (!isReplay && stamp !== undefined && stamp.batch > this.#durable) this.#retain(request, stamp);
    else if (!isReplay) this.#open.delete(request.id);
    this.#tell(request, frame);
    this.#release();
    return isReplay && frame.errno !== "" ? "contradicted" : "expected";
  }

  /** Every batch up to this one is on disk. */
  durableUpTo(batch: number): void {
    if (batch <= this.#durable) return;
    this.#durable = batch;
    this.#release();
  }

  /** Resolves when everything that was answered until now is on disk; rejects if it never will be. */
  whenDurable(startMs: number): Promise<void> {
    if (this.#retained.length === 0) return Promise.resolve();
    const until = this.#retainedCount;
    return new Promise((resolve, reject) => this.#durableWaiters.push({ until, startMs, resolve, reject }));
  }

  get hasDurableWaiters(): boolean {
    return this.#durableWaiters.length > 0;
  }

  /** A new stream of the same session: what to send again, in this order. `durable`: the watermark there. */
  resume(durable: number): Resend[] {
    this.#stream++;
    this.#durable = durable;
    this.#retained.sort(byExecution);
    for (const request of this.#retained) request.batch = undefined;
    // They stand in another order now: whoever waits for some waits for all.
    for (const waiter of this.#durableWaiters) waiter.until = this.#retainedCount;
    // The daemon must hear of what was told before it serves others.
    for (const request of this.#waiting.filter(({ told }) => told !== undefined)) this.#opened(request);
    this.#waiting = this.#waiting.filter(({ told }) => told === undefined);
    const again = this.#retained.map((request) => ({ request, replay: request.first?.stamp }));
    const unanswered = [...this.#open.values()].filter((request) => request.first === undefined);
    return [...again, ...unanswered.map((request) => ({ request, replay: toldStamp(request) }))];
  }

  /**
   * Another session: what was sent is lost, except for questions, which can be asked there as well; so is what has
   * waited and was told before, or counts on what the session had. True when changes that were answered may be lost.
   */
  fence(durable: number): boolean {
    const told = [...this.#open.values(), ...this.#waiting].filter(({ told }) => told !== undefined);
    const isLost = this.#retained.length > 0 || told.length > 0;
    const lost = new FsError("EIO", "the metadata daemon gave this session up");
    const again: Request[] = [];
    for (const request of this.#open.values()) {
      if (request.waiter !== undefined && isQuestion(request.op)) again.push(request);
      else request.waiter?.reject(lost);
    }
    for (const request of again) request.id = 0;
    for (const { waiter } of told) waiter?.reject(lost);
    for (const { op, waiter } of this.#waiting) if (OF_THE_SESSION.has(op.$case)) waiter?.reject(lost);
    this.#waiting = [
      ...again,
      ...this.#waiting.filter(({ op, told }) => told === undefined && !OF_THE_SESSION.has(op.$case)),
    ];
    this.#forgetOpen(lost);
    this.#nextId = 1;
    this.#stream++;
    this.#durable = durable;
    return isLost;
  }

  /**
   * Gives up what has waited since before `sinceMs`. What was sent stays open: it may have been done, and what follows
   * may depend on it.
   */
  expire(sinceMs: number, error: FsError): void {
    const isOver = ({ startMs }: { readonly startMs: number }) => startMs <= sinceMs;
    for (const waiter of this.#durableWaiters) if (isOver(waiter)) waiter.reject(error);
    this.#durableWaiters = this.#durableWaiters.filter((waiter) => !isOver(waiter));
    for (const request of this.#waiting) if (isOver(request)) request.waiter?.reject(error);
    this.#waiting = this.#waiting.filter((request) => !isOver(request));
    for (const request of this.#open.values()) {
      if (!isOver(request)) continue;
      request.waiter?.reject(error);
      request.waiter = undefined;
    }
  }

  /** Nothing will be sent any more. */
  end(error: FsError): void {
    for (const request of [...this.#waiting, ...this.#open.values()]) request.waiter?.reject(error);
    this.#waiting = [];
    this.#forgetOpen(error);
  }

  #opened(request: Request): void {
    request.id = this.#nextId++;
    this.#open.set(request.id, request);
  }

  #forgetOpen(error: FsError): void {
    this.#open.clear();
    this.#retained = [];
    this.#retainedBytes = 0;
    this.#releasedCount = this.#retainedCount;
    for (const { reject } of this.#durableWaiters.splice(0)) reject(error);
  }

  #tell(request: Request, frame: ServerFrame): void {
    const { waiter } = request;
    request.waiter = undefined;
    if (waiter === undefined) return;
    if (frame.errno !== "") waiter.reject(new FsError(errnoFromWire(frame.errno)));
    else if (frame.op?.$case === request.op.$case) waiter.resolve(frame.op);
    else waiter.reject(new FsError("EPROTO", `'${frame.op?.$case ?? "nothing"}' answers '${request.op.$case}'`));
  }

  #retain(request: Request, stamp: Stamp): void {
    request.first = { stream: this.#stream, stamp };
    this.#retained.push(request);
    this.#retainedBytes += request.bytes;
    this.#retainedCount++;
  }

  #release(): void {
    let count = 0;
    for (const request of this.#retained) {
      if (request.batch === undefined || request.batch > this.#durable) break;
      this.#open.delete(request.id);
      this.#retainedBytes -= request.bytes;
      count++;
    }
    if (count === 0) return;
    this.#retained.splice(0, count);
    this.#releasedCount += count;
    const due = this.#durableWaiters.filter(({ until }) => until <= this.#releasedCount);
    if (due.length === 0) return;
    this.#durableWaiters = this.#durableWaiters.filter(({ until }) => until > this.#releasedCount);
    for (const { resolve } of due) resolve();
  }
}

/** What a request says of itself that was told before it was answered. */
export function toldStamp({ told }: Request): Stamp | undefined {
  return told && { now: told.at, inos: told.ino === undefined ? [] : [told.ino], order: 0, batch: 0 };
}

function isQuestion(op: Op): boolean {
  return READS.has(op.$case) || (op.$case === "open" && !op.value.truncate);
}

function byExecution(a: Request, b: Request): number {
  if (a.first === undefined || b.first === undefined) throw new Error("a retained request was answered");
  return a.first.stream - b.first.stream || a.first.stamp.order - b.first.stamp.order;
}

/** Roughly what keeping it costs. */
function weightOf(op: Op): number {
  const base = 512;
  if (op.$case === "setxattr") return base + op.value.value.length;
  if (op.$case === "make") return base + op.value.target.length;
  if (op.$case === "commit") {
    return op.value.slices.reduce((sum, { slice }) => sum + 128 + (slice?.inline.length ?? 0), base);
  }
  return base;
}
