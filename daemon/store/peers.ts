import { FsError, errnoFromWire } from "../../proto/errno.js";
import type { ChunkReply, ChunkRequest, Target } from "../../proto/gen/bigfs/v1/store.js";
import type { ChunkMessage } from "../../proto/chunk-codec.js";
import type { Cancel, Clock } from "../common/clock.js";
import { CHUNKS } from "../common/rpc/kinds.js";
import type { Link } from "../common/rpc/link.js";
import { grpc, type Network } from "../common/rpc/network.js";

export interface PeersOptions {
  readonly key: Buffer;
  /** Uuid of the volume; empty: not known yet. */
  readonly volume: () => string;
  readonly connectMs: number;
  readonly clock: Clock;
  /** What to be there; default "store". */
  readonly role?: string;
  readonly network?: Network;
}

type Op = NonNullable<ChunkRequest["op"]>;
type Request = Omit<ChunkRequest, "id">;
export type Reply = ChunkMessage<ChunkReply>;
type PeerLink = Link<ChunkMessage<ChunkRequest>, Reply>;

/** Streams to other storage daemons: one for each address, opened when it is first needed, and again when it was lost. */
export class Peers {
  readonly #peers = new Map<string, Promise<Peer>>();
  #isStopped = false;

  constructor(private readonly opts: PeersOptions) {}

  /** Rejects with the error that the other node answers, ETIMEDOUT after `ms`, or EIO when the stream is lost. */
  async ask(target: Target, op: Op, payload: Buffer, ms: number): Promise<Reply> {
    const peer = await this.#peer(target.address);
    return peer.ask({ op, node: target.node }, payload, ms);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    const peers = await Promise.allSettled(this.#peers.values());
    for (const peer of peers) if (peer.status === "fulfilled") peer.value.close();
  }

  #peer(address: string): Promise<Peer> {
    const known = this.#peers.get(address);
    if (known !== undefined) return known;
    if (this.#isStopped) return Promise.reject(new FsError("EIO", "this node is stopping"));
    const fresh = this.#connect(address, () => {
      if (this.#peers.get(address) === fresh) this.#peers.delete(address);
    });
    this.#peers.set(address, fresh);
    return fresh;
  }

  async #connect(address: string, gone: () => void): Promise<Peer> {
    const { key, volume, connectMs, clock, role = "store", network = grpc } = this.opts;
    const common = { key, role, connectMs, clock };
    try {
      const link = await network.dial(CHUNKS, address, volume() === "" ? common : { ...common, volume: volume() });
      return new Peer(link, clock, gone);
    } catch (error) {
      gone();
      throw error;
    }
  }
}

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: FsError) => void;
  readonly cancel: Cancel;
}

class Peer {
  #id = 0;
  readonly #waiting = new Map<number, Waiting>();
  #closed: FsError | undefined;

  constructor(
    private readonly link: PeerLink,
    private readonly clock: Clock,
    gone: () => void,
  ) {
    link.open({
      message: (reply) => this.#received(reply),
      closed: (reason) => {
        gone();
        this.#closed = reason;
        for (const id of this.#waiting.keys()) this.#settle(id)?.reject(new FsError("EIO", reason.message));
      },
    });
  }

  ask(request: Request, payload: Buffer, ms: number): Promise<Reply> {
    if (this.#closed !== undefined) return Promise.reject(new FsError("EIO", this.#closed.message));
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      const cancel = this.clock.after(ms, () =>
        this.#settle(id)?.reject(new FsError("ETIMEDOUT", `${this.link.peer.address} did not answer in ${ms} ms`)),
      );
      this.#waiting.set(id, { resolve, reject, cancel });
      void this.#send({ id, ...request }, payload);
    });
  }

  close(): void {
    this.link.close();
  }

  async #send(header: ChunkRequest, payload: Buffer): Promise<void> {
    if (this.link.congested) await this.link.drained();
    // Not when its time is over, or the stream is.
    if (this.#waiting.has(header.id)) this.link.send({ header, payload });
  }

  #received(reply: Reply): void {
    const { id, errno, detail } = reply.header;
    const waiting = this.#settle(id);
    if (errno === "") waiting?.resolve(reply);
    else waiting?.reject(new FsError(errnoFromWire(errno), detail));
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    waiting?.cancel();
    this.#waiting.delete(id);
    return waiting;
  }
}
