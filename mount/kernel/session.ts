import type { Logger } from "pino";
import type { Clock } from "../../daemon/common/clock.js";
import { ERRNO, errnoOf, FsError, type Errno } from "../../proto/errno.js";
import type { FileSystem, KernelCache } from "../vfs/filesystem.js";
import { Cursor } from "./codec/cursor.js";
import { IN_HEADER, parseHead, type Head } from "./codec/header.js";
import { agree, MINOR_MIN, parseInit, VERSION, writeInit, type Agreed, type Bounds } from "./codec/init.js";
import { OPCODE } from "./codec/opcodes.js";
import { Output } from "./codec/output.js";
import type { Inherited } from "./inherited.js";
import { Interrupts } from "./interrupts.js";
import type { Channel, Operation, Request } from "./operations/operation.js";
import { operationOf } from "./operations/table.js";
import type { PendingRequests } from "./pending.js";

/** The kernel's end of the connection. Results: bytes, or -errno. */
export interface Device {
  read(into: Buffer): number;
  /** The first `length` bytes of `head`, then `body`, as one message. */
  write(head: Buffer, length: number, body: Buffer): number;
}

/** For metrics: `errno` undefined: success. */
export type OnOperation = (name: string, seconds: number, errno: string | undefined) => void;

export interface SessionParts {
  readonly fs: FileSystem;
  readonly device: Device;
  readonly pending: PendingRequests;
  readonly clock: Clock;
  readonly log: Logger;
  /** Made when it is known what the kernel can do. */
  readonly cache: (agreed: Agreed) => KernelCache;
}

export interface SessionOptions {
  readonly onOperation?: OnOperation | undefined;
  /** Overwrites every request when its handler has returned, so that tests find what was kept of it. */
  readonly poison?: boolean | undefined;
  /** How many processes have served this mount before; default 0. */
  readonly generation?: number | undefined;
  /** What the kernel has of them. */
  readonly inherited?: Inherited | undefined;
}

const BOUNDS: Bounds = { maxWrite: 1024 * 1024, maxBackground: 64 };
/** One request at its longest, with room for the kernel's own header of it. */
const REQUEST_BYTES = BOUNDS.maxWrite + 4096;
/** Answers that are longer than this bring their bytes along. */
const ANSWER_BYTES = 4096;
/** Milliseconds of work for one wake-up, so that other streams of this process get their turn. */
const WAKE_UP_MS = 1;
const POISON = 0xdb;
const NO_BYTES = Buffer.alloc(0);
const BEFORE_INIT: Agreed = { minor: 0, flags: 0, flags2: 0, maxReadahead: 0 };

const { ENOENT, EINTR, EAGAIN, ENODEV, EIO } = ERRNO;
const ENOTCONN = 107;
const ECONNABORTED = 103;
/** A request that could not be given to us; the kernel has answered it. */
const PASSING = new Set([-EINTR, -ENOENT, -EIO]);
/** Nobody waits for the answer any more. */
const NOT_WANTED = new Set([-ENOENT, -ENODEV, -ENOTCONN, -ECONNABORTED, -ERRNO.EPERM]);

type State =
  { readonly at: "starting" } | { readonly at: "serving"; readonly agreed: Agreed } | { readonly at: "ended" };

/**
 * One connection to the kernel: reads requests, has them answered, agrees on the protocol. `ready` resolves when the
 * kernel may ask, `ended` when it does not any more (undefined: it has unmounted).
 */
export class Session implements Channel {
  readonly ready: Promise<Agreed>;
  readonly ended: Promise<Error | undefined>;
  readonly out = new Output(ANSWER_BYTES);
  readonly maxWrite = BOUNDS.maxWrite;
  readonly interrupts = new Interrupts();
  readonly #parts: SessionParts;
  readonly #opts: SessionOptions;
  readonly #cursor = new Cursor();
  readonly #buffer = Buffer.alloc(REQUEST_BYTES);
  #state: State = { at: "starting" };
  #onReady: (agreed: Agreed) => void = () => undefined;
  #onEnded: (error: Error | undefined) => void = () => undefined;

  constructor(parts: SessionParts, opts: SessionOptions = {}) {
    this.#parts = parts;
    this.#opts = opts;
    this.ready = new Promise((resolve) => (this.#onReady = resolve));
    this.ended = new Promise((resolve) => (this.#onEnded = resolve));
  }

  get fs(): FileSystem {
    return this.#parts.fs;
  }

  get pending(): PendingRequests {
    return this.#parts.pending;
  }

  get generation(): number {
    return this.#opts.generation ?? 0;
  }

  get agreed(): Agreed {
    return this.#state.at === "serving" ? this.#state.agreed : BEFORE_INIT;
  }

  /** Goes on with what another process has agreed on. */
  resume(agreed: Agreed): void {
    this.#state = this.#serving(agreed);
    this.#onReady(agreed);
  }

  /** Reads and serves what is there, for about a millisecond. */
  wake(): void {
    const { clock, device } = this.#parts;
    const until = clock.monotonicMs() + WAKE_UP_MS;
    while (this.#state.at !== "ended") {
      const got = device.read(this.#buffer);
      if (got > 0) this.#serve(got);
      else if (got === -EAGAIN || this.#failed(got)) return;
      if (clock.monotonicMs() >= until) return;
    }
  }

  /** Serves one message, as `wake` does with what it has read. */
  receive(message: Buffer): void {
    this.#serve(message.copy(this.#buffer));
  }

  /** Requests are not answered any more; what is under way may finish. */
  end(error: Error | undefined): void {
    if (this.#state.at === "ended") return;
    this.#state = { at: "ended" };
    this.interrupts.all();
    this.#onEnded(error);
  }

  send(request: Request, body: Buffer | undefined): boolean {
    const taken = this.#answer(request.head, request.operation.name, 0, body ?? NO_BYTES);
    this.#measure(request, undefined);
    return taken;
  }

  fail(request: Request, error: unknown): void {
    const { head, operation } = request;
    if (!(error instanceof FsError)) {
      this.#parts.log.error({ err: error, operation: operation.name, node: head.node }, "operation failed by a bug");
    }
    const errno = errnoOf(error);
    this.#refuse(head, operation.name, errno);
    this.#measure(request, errno);
  }

  complain(name: string, error: unknown): void {
    const level = error instanceof FsError ? "warn" : "error";
    this.#parts.log[level]({ err: error, operation: name }, "kernel request without an answer failed");
  }

  /** True: there is nothing more to read. */
  #failed(result: number): boolean {
    if (PASSING.has(result)) return false;
    if (result === -ENODEV) this.end(undefined);
    else if (result === -ECONNABORTED) this.end(new Error("the connection to the kernel was aborted"));
    else this.end(new Error(`reading from /dev/fuse failed (errno ${-result})`));
    return true;
  }

  #serve(length: number): void {
    if (length < IN_HEADER) {
      this.#parts.log.error({ length }, "kernel request without a header");
      return;
    }
    const cursor = this.#cursor.reset(this.#buffer, 0, length);
    const head = parseHead(cursor);
    if (head.opcode === OPCODE.init) this.#initialize(head, cursor);
    else if (!this.#claims(head, length)) this.#dispatch(head, cursor);
    if (this.#opts.poison === true) this.#buffer.fill(POISON, 0, length);
  }

  /** Whether it is about what this process has not opened: then it is served when that is done. */
  #claims(head: Head, length: number): boolean {
    const claim = this.#opts.inherited?.claim(head, this.#buffer.subarray(0, length));
    if (claim === undefined) return false;
    const { name, holdsOthers } = operationOf(head.opcode) ?? { name: `opcode ${head.opcode}`, holdsOthers: false };
    if (claim === "over") {
      this.out.begin();
      this.#answer(head, name, 0, NO_BYTES);
      return true;
    }
    const message = Buffer.from(this.#buffer.subarray(0, length));
    const served = claim.then(
      () => this.receive(message),
      (error: unknown) => this.#refuse(head, name, errnoOf(error)),
    );
    this.#track(head, { name, holdsOthers }, served);
    return true;
  }

  #dispatch(head: Head, cursor: Cursor): void {
    const operation = operationOf(head.opcode);
    if (operation === undefined) {
      this.#refuse(head, `opcode ${head.opcode}`, "ENOSYS");
      return;
    }
    const request = { head, operation, startMs: this.#opts.onOperation ? this.#parts.clock.monotonicMs() : 0 };
    if (this.#state.at !== "serving") {
      this.fail(request, new FsError("EIO", "a request before the protocol was agreed on"));
      return;
    }
    const answered = operation.start(this, request, cursor);
    if (answered !== undefined) this.#track(head, operation, answered);
  }

  #track(head: Head, { name, holdsOthers }: Pick<Operation, "name" | "holdsOthers">, answered: Promise<void>): void {
    const { pending, log } = this.#parts;
    pending.add(head.node, holdsOthers);
    answered
      .catch((err: unknown) => log.error({ err, operation: name }, "an answer could not be given"))
      .finally(() => pending.remove(head.node, holdsOthers))
      .catch(() => undefined);
  }

  /** Tells the filesystem what the kernel can do. */
  #serving(agreed: Agreed): State {
    this.#parts.fs.attach(this.#parts.cache(agreed));
    return { at: "serving", agreed };
  }

  #initialize(head: Head, cursor: Cursor): void {
    try {
      const asked = parseInit(cursor);
      if (this.#state.at !== "starting" || asked.major < VERSION.major || asked.minor < MINOR_MIN) {
        throw new FsError("EPROTO", `FUSE ${asked.major}.${asked.minor} is not supported`);
      }
      const agreed = agree(asked);
      // A newer major version takes ours from the answer and asks again.
      if (asked.major === VERSION.major) this.#state = this.#serving(agreed);
      writeInit(this.out.begin(), agreed, BOUNDS);
    } catch (error) {
      this.#refuse(head, "init", errnoOf(error));
      this.end(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.#answer(head, "init", 0, NO_BYTES);
    if (this.#state.at === "serving") this.#onReady(this.#state.agreed);
  }

  #refuse(head: Head, name: string, errno: Errno): void {
    this.out.begin();
    this.#answer(head, name, ERRNO[errno], NO_BYTES);
  }

  /** False: the kernel did not take it. */
  #answer(head: Head, name: string, errno: number, body: Buffer): boolean {
    const { device, log } = this.#parts;
    const { bytes, length } = this.out.finish(head.unique, errno, body.length);
    const result = device.write(bytes, length, body);
    if (result < 0 && !NOT_WANTED.has(result)) {
      log.error({ operation: name, node: head.node, errno: -result, bytes: length + body.length }, "answer refused");
    }
    return result >= 0;
  }

  #measure({ operation, startMs }: Request, errno: Errno | undefined): void {
    if (this.#opts.onOperation === undefined) return;
    try {
      this.#opts.onOperation(operation.name, (this.#parts.clock.monotonicMs() - startMs) / 1000, errno);
    } catch (error) {
      this.complain(operation.name, error);
    }
  }
}
