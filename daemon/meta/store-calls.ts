import { NO_PAYLOAD, type ChunkMessage } from "../../proto/chunk-codec.js";
import { FsError, errnoFromWire } from "../../proto/errno.js";
import type { ChunkReply, ChunkRequest } from "../../proto/gen/bigfs/v1/store.js";
import type { Clock } from "../common/clock.js";
import { CHUNKS } from "../common/rpc/kinds.js";
import type { Link } from "../common/rpc/link.js";
import { grpc, type Network } from "../common/rpc/network.js";

export interface StoreCallsOptions {
  readonly key: Buffer;
  readonly connectMs: number;
  /** One question. */
  readonly answerMs: number;
  readonly clock: Clock;
  /** Uuid of the volume; undefined: any. */
  readonly volume?: string;
  /** Which node of the daemon there; undefined: whichever can answer. */
  readonly node?: number;
  readonly network?: Network;
}

type Stream = Link<ChunkMessage<ChunkRequest>, ChunkMessage<ChunkReply>>;
export type StoreOp = NonNullable<ChunkRequest["op"]>;

/** Questions of the metadata daemon to one storage daemon, over a stream of their own. */
export class StoreCalls {
  #lastId = 0;
  #failure: FsError | undefined;
  readonly #waiting = new Map<number, (reply: ChunkMessage<ChunkReply> | FsError) => void>();

  private constructor(
    readonly address: string,
    private readonly link: Stream,
    private readonly opts: StoreCallsOptions,
  ) {
    link.open({
      message: (reply) => this.#waiting.get(reply.header.id)?.(reply),
      closed: (reason) => {
        this.#failure = reason;
        for (const settle of this.#waiting.values()) settle(reason);
      },
    });
  }

  /** Rejects as dial() does. */
  static async connect(address: string, opts: StoreCallsOptions): Promise<StoreCalls> {
    const { key, connectMs, clock, volume, network = grpc } = opts;
    const common = { key, role: "meta", connectMs, clock };
    const link = await network.dial(CHUNKS, address, volume === undefined ? common : { ...common, volume });
    return new StoreCalls(address, link, opts);
  }

  get node(): number | undefined {
    return this.opts.node;
  }

  /** Of the volume that the daemon belongs to. */
  get volume(): string {
    return this.link.peer.volume;
  }

  get isClosed(): boolean {
    return this.#failure !== undefined;
  }

  /** Rejects with the node's FsError, ETIMEDOUT, or why the stream has ended. */
  async ask(op: StoreOp, payload = NO_PAYLOAD): Promise<ChunkMessage<ChunkReply>> {
    if (this.#failure !== undefined) throw this.#failure;
    const { clock, answerMs, node } = this.opts;
    const id = ++this.#lastId;
    let cancel = () => {};
    const reply = await new Promise<ChunkMessage<ChunkReply> | FsError>((resolve) => {
      this.#waiting.set(id, resolve);
      cancel = clock.after(answerMs, () => resolve(new FsError("ETIMEDOUT", `no answer from ${this.address}`)));
      this.link.send({ header: { id, op, ...(node === undefined ? {} : { node }) }, payload });
    });
    cancel();
    this.#waiting.delete(id);
    if (reply instanceof FsError) throw reply;
    const { errno, detail } = reply.header;
    if (errno !== "") throw new FsError(errnoFromWire(errno), `${this.address}: ${detail}`);
    return reply;
  }

  close(): void {
    this.link.close();
  }
}

/** Opens them to a node of the volume. */
export type DialStore = (node: { readonly id: number; readonly address: string }) => Promise<StoreCalls>;
