import { NO_PAYLOAD, type ChunkMessage } from "../../proto/chunk-codec.js";
import { FsError, errnoFromWire, errnoOf } from "../../proto/errno.js";
import type { ChunkReply, ChunkRequest } from "../../proto/gen/bigfs/v1/store.js";
import type { KnownChunk } from "../../daemon/common/chunks/chunk-reader.js";
import type { Cancel, Clock } from "../../daemon/common/clock.js";
import { CHUNKS } from "../../daemon/common/rpc/kinds.js";
import type { Link } from "../../daemon/common/rpc/link.js";
import type { Network } from "../../daemon/common/rpc/network.js";
import { LocalChunks } from "./local-chunks.js";

export interface StoreLinkOptions {
  /** HOST:PORT of the storage daemon, and which of its nodes is meant. */
  readonly address: string;
  readonly node: number;
  readonly key: Buffer;
  /** Uuid of the volume. */
  readonly volume: string;
  readonly connectMs: number;
  /** Hung up when nobody has asked for so long. */
  readonly idleMs: number;
  /** Whether a daemon on this machine may be passed over. */
  readonly shortCircuit: boolean;
  readonly clock: Clock;
  readonly network: Network;
}

type ChunkOp = NonNullable<ChunkRequest["op"]>;
type Reply = ChunkMessage<ChunkReply>;
type Stream = Link<ChunkMessage<ChunkRequest>, Reply>;

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: FsError) => void;
}

/** Requests to one node: dialled when there is something to ask, again when the stream was lost, many at once. */
export class StoreLink {
  #stream: Promise<Stream> | undefined;
  #open: Stream | undefined;
  #local: LocalChunks | undefined;
  #lastId = 0;
  #asking = 0;
  readonly #waiting = new Map<number, Waiting>();
  #cancelIdle: Cancel = () => {};
  #isRemote = false;
  #isStopped = false;

  constructor(private readonly opts: StoreLinkOptions) {}

  /** Requests under way. */
  get inFlight(): number {
    return this.#asking;
  }

  /**
   * Rejects with the daemon's FsError, ETIMEDOUT after `ms`, EINTR when aborted, or what dial() rejects with. The
   * payload must not change before that, or before the daemon was hung up on.
   */
  ask(op: ChunkOp, payload: Buffer | undefined, ms: number, signal?: AbortSignal): Promise<Reply> {
    const { clock, address } = this.opts;
    return this.#during(async () => {
      const id = ++this.#lastId;
      let cancelTimer: Cancel = () => {};
      let abort = (): void => {};
      try {
        return await new Promise<Reply>((resolve, reject) => {
          abort = () => reject(new FsError("EINTR"));
          signal?.addEventListener("abort", abort, { once: true });
          if (signal?.aborted === true) return abort();
          cancelTimer = clock.after(ms, () =>
            reject(new FsError("ETIMEDOUT", `${address} did not answer in ${ms} ms`)),
          );
          this.#waiting.set(id, { resolve, reject });
          this.#send(id, op, payload ?? NO_PAYLOAD).catch(reject);
        });
      } finally {
        this.#waiting.delete(id);
        cancelTimer();
        signal?.removeEventListener("abort", abort);
      }
    });
  }

  /**
   * Bytes off..off+len of a chunk, past the daemon when it is on this machine; undefined: it is not. Rejects when they
   * cannot be had that way, ETIMEDOUT after `ms` (from then on the daemon is asked), and as dial() does.
   */
  readHere(chunk: KnownChunk, off: number, len: number, ms: number): Promise<Buffer | undefined> {
    if (!this.opts.shortCircuit) return Promise.resolve(undefined);
    return this.#during(async () => {
      await this.#connected();
      const local = this.#local;
      try {
        return await local?.read(chunk, off, len, ms);
      } catch (error) {
        if (errnoOf(error) === "ETIMEDOUT" && this.#local === local) this.#located(undefined);
        throw error;
      }
    });
  }

  /** It said that it is not on this machine, or not where that is. */
  get isRemote(): boolean {
    return this.#isRemote;
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelIdle();
    this.#open?.close();
    this.#local?.close();
    this.#fail(new FsError("EIO", "this mount is stopping"));
  }

  async #send(id: number, op: ChunkOp, payload: Buffer): Promise<void> {
    const stream = await this.#connected();
    if (stream.congested) await stream.drained();
    // Not when its time is over.
    if (this.#waiting.has(id)) stream.send({ header: { id, op, node: this.opts.node }, payload });
  }

  #connected(): Promise<Stream> {
    if (this.#isStopped) return Promise.reject(new FsError("EIO", "this mount is stopping"));
    this.#stream ??= this.#connect().catch((error: unknown) => {
      this.#stream = undefined;
      throw error;
    });
    return this.#stream;
  }

  async #connect(): Promise<Stream> {
    const { address, key, volume, connectMs, clock, network } = this.opts;
    const stream = await network.dial(CHUNKS, address, { key, role: "mount", volume, connectMs, clock });
    stream.open({
      message: (reply) => this.#answered(reply),
      closed: (reason) => {
        if (this.#open !== stream) return;
        this.#forget();
        this.#fail(new FsError("EIO", reason.detail, { cause: reason }));
      },
    });
    this.#open = stream;
    if (this.#isStopped) stream.close();
    else if (this.opts.shortCircuit) await this.#locate(stream);
    return stream;
  }

  /** Asks where its chunks are. Resolves when that is known, or takes too long. */
  #locate(stream: Stream): Promise<void> {
    const { connectMs, clock, node } = this.opts;
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      const cancel = clock.after(connectMs, resolve);
      const settle = (reply?: Reply): void => {
        this.#waiting.delete(id);
        cancel();
        if (this.#open === stream) this.#located(reply && LocalChunks.of(reply.header, clock));
        resolve();
      };
      // A daemon that does not say it is asked for everything.
      this.#waiting.set(id, { resolve: settle, reject: () => settle() });
      stream.send({ header: { id, op: { $case: "locate", value: {} }, node }, payload: NO_PAYLOAD });
    });
  }

  #located(local: LocalChunks | undefined): void {
    this.#local?.close();
    this.#local = local;
    this.#isRemote = local === undefined;
  }

  #answered(reply: Reply): void {
    const { id, errno, detail } = reply.header;
    const waiting = this.#waiting.get(id);
    if (errno === "") waiting?.resolve(reply);
    else waiting?.reject(new FsError(errnoFromWire(errno), `${this.opts.address}: ${detail}`));
  }

  #fail(error: FsError): void {
    for (const { reject } of [...this.#waiting.values()]) reject(error);
  }

  #forget(): void {
    this.#cancelIdle();
    this.#located(undefined);
    this.#isRemote = false;
    this.#open = undefined;
    this.#stream = undefined;
  }

  async #during<T>(work: () => Promise<T>): Promise<T> {
    this.#asking++;
    this.#cancelIdle();
    try {
      return await work();
    } finally {
      this.#asking--;
      if (this.#asking === 0) this.#idle();
    }
  }

  #idle(): void {
    this.#cancelIdle();
    this.#cancelIdle = this.opts.clock.after(this.opts.idleMs, () => {
      const stream = this.#open;
      this.#forget();
      stream?.close();
    });
  }
}
