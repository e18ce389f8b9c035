import { NO_PAYLOAD, type ChunkMessage } from "../../proto/chunk-codec.js";
import { FsError, errnoFromWire } from "../../proto/errno.js";
import type { ChunkReply, ChunkRequest } from "../../proto/gen/bigfs/v1/store.js";
import type { Cancel, Clock } from "../../daemon/common/clock.js";
import { dial } from "../../daemon/common/rpc/client.js";
import { CHUNKS } from "../../daemon/common/rpc/kinds.js";
import type { Link } from "../../daemon/common/rpc/link.js";
import { LocalChunks } from "./local-chunks.js";

export interface StoreLinkOptions {
  /** HOST:PORT of the storage daemon. */
  readonly address: string;
  readonly key: Buffer;
  /** Uuid of the volume. */
  readonly volume: string;
  readonly connectMs: number;
  /** Hung up when nobody has asked for so long. */
  readonly idleMs: number;
  /** Whether a daemon on this machine may be passed over, and memory be shared with it. */
  readonly shortCircuit: boolean;
  readonly clock: Clock;
}

type ChunkOp = NonNullable<ChunkRequest["op"]>;
type Reply = ChunkMessage<ChunkReply>;
type Stream = Link<ChunkMessage<ChunkRequest>, Reply>;

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: FsError) => void;
}

/** Requests to one storage daemon: dialled when there is something to ask, again when the stream was lost, many at once. */
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
  async ask(op: ChunkOp, payload: Buffer | undefined, ms: number, signal?: AbortSignal): Promise<Reply> {
    const { clock, address } = this.opts;
    const id = ++this.#lastId;
    this.#asking++;
    this.#cancelIdle();
    let cancelTimer: Cancel = () => {};
    let abort = (): void => {};
    try {
      return await new Promise<Reply>((resolve, reject) => {
        abort = () => reject(new FsError("EINTR"));
        signal?.addEventListener("abort", abort, { once: true });
        if (signal?.aborted === true) return abort();
        cancelTimer = clock.after(ms, () => reject(new FsError("ETIMEDOUT", `${address} did not answer in ${ms} ms`)));
        this.#waiting.set(id, { resolve, reject });
        this.#send(id, op, payload ?? NO_PAYLOAD).catch(reject);
      });
    } finally {
      this.#waiting.delete(id);
      cancelTimer();
      signal?.removeEventListener("abort", abort);
      this.#asking--;
      if (this.#asking === 0) this.#idle();
    }
  }

  /** Its chunk files, when it is on this machine. Rejects with what dial() rejects with. */
  async local(): Promise<LocalChunks | undefined> {
    if (this.opts.shortCircuit) await this.#connected();
    return this.#local;
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
    if (this.#waiting.has(id)) stream.send({ header: { id, op }, payload });
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
    const { address, key, volume, connectMs, clock } = this.opts;
    const stream = await dial(CHUNKS, address, { key, role: "mount", volume, connectMs, clock });
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
    else if (this.opts.shortCircuit) {
      const local = await this.#locate(stream);
      // It may be gone again.
      if (this.#open === stream) [this.#local, this.#isRemote] = [local, local === undefined];
    }
    return stream;
  }

  /** Its chunks, when they are here. Never rejects: a daemon that does not say where they are is asked for them. */
  #locate(stream: Stream): Promise<LocalChunks | undefined> {
    const { connectMs, clock } = this.opts;
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      const cancel = clock.after(connectMs, () => settle());
      const settle = (local?: LocalChunks): void => {
        this.#waiting.delete(id);
        cancel();
        resolve(local);
      };
      this.#waiting.set(id, {
        resolve: (reply) => settle(LocalChunks.of(reply.header, clock)),
        reject: () => settle(),
      });
      stream.send({ header: { id, op: { $case: "locate", value: {} } }, payload: NO_PAYLOAD });
    });
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
    this.#local?.close();
    this.#local = undefined;
    this.#isRemote = false;
    this.#open = undefined;
    this.#stream = undefined;
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
