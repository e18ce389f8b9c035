import { hostname } from "node:os";
import { crc32 } from "node:zlib";
import type { Logger } from "pino";
import type { Clock } from "../../daemon/common/clock.js";
import type { Deadlines } from "../../daemon/common/deadlines.js";
import { grpc, type Network } from "../../daemon/common/rpc/network.js";
import { FsError, errnoOf } from "../../proto/errno.js";
import type { NodeInfo, NodeMap } from "../../proto/gen/bigfs/v1/node.js";
import type { ChunkClient } from "../vfs/ports.js";
import { order } from "./choice.js";
import { AllFailed, firstOf } from "./first-of.js";
import { StoreLink } from "./store-link.js";

export interface StoreClientsParts {
  /** The latest node map. */
  readonly map: () => NodeMap;
  readonly key: Buffer;
  /** Uuid of the volume. */
  readonly volume: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly deadlines: Deadlines;
  /** Nodes of this zone are asked first; default: the host's name, which is a node's default too. */
  readonly zone?: string;
  /** Chunk files of nodes on this machine are read here; default false. */
  readonly shortCircuit?: boolean;
  readonly network?: Network;
}

/** A node that failed is asked last for so long. */
const BAD_MS = 5_000;
/** A stream that nobody has used for so long is closed. */
const IDLE_MS = 60_000;
/** After this share of chunkMs without an answer, another node is asked as well. */
const HEDGE_SHARE = 0.1;

/** The storage daemons. What they store and give they check themselves, so nothing is verified here once more. */
export class StoreClients implements ChunkClient {
  /** By node and address. */
  readonly #links = new Map<string, StoreLink>();
  /** Nodes that failed, and until when that counts. */
  readonly #badUntilMs = new Map<number, number>();
  readonly #zone: string;

  constructor(private readonly parts: StoreClientsParts) {
    this.#zone = parts.zone ?? hostname();
  }

  async put(chunk: {
    readonly id: number;
    readonly data: Buffer;
    readonly nodes: readonly number[];
    readonly minCopies: number;
    readonly wanted?: number;
    readonly sync: boolean;
    readonly signal?: AbortSignal;
  }): Promise<void> {
    const { id, data, minCopies, wanted, sync, signal } = chunk;
    const [primary, ...others] = this.#known(chunk.nodes);
    if (primary === undefined || primary.id !== chunk.nodes[0]) {
      throw new FsError("EIO", `chunk ${id}: node ${chunk.nodes[0] ?? "none"} is not in the map`);
    }
    const forward = others.map((node) => ({ node: node.id, address: node.address }));
    const put = { chunk: id, crc: crc32(data), forward, minCopies, sync, copy: false, wanted };
    try {
      await this.#link(primary).ask({ $case: "put", value: put }, data, this.parts.deadlines.chunkMs, signal);
      this.#badUntilMs.delete(primary.id);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === "EINTR" && signal?.aborted === true) throw error;
      this.#note(primary, errno);
      throw new FsError(errno === "ENOSPC" ? "ENOSPC" : "EIO", `chunk ${id} was not stored: ${String(error)}`, {
        cause: error,
      });
    }
  }

  async get(want: {
    readonly id: number;
    readonly size: number;
    readonly off: number;
    readonly len: number;
    readonly nodes: readonly number[];
  }): Promise<Buffer> {
    const { id, size, off, len } = want;
    const { clock, deadlines, log } = this.parts;
    const nowMs = clock.monotonicMs();
    const news = (node: NodeInfo) => ({
      isBad: (this.#badUntilMs.get(node.id) ?? -Infinity) > nowMs,
      isRemote: this.#links.get(placeOf(node))?.isRemote ?? false,
      inFlight: this.#links.get(placeOf(node))?.inFlight ?? 0,
    });
    const candidates = order(this.#known(want.nodes), id, { zone: this.#zone, news });
    const hedgeMs = deadlines.chunkMs * HEDGE_SHARE;
    const attempt = async (node: NodeInfo): Promise<Buffer> => {
      try {
        const link = this.#link(node);
        const here = await link.readHere({ id, len: size }, off, len, hedgeMs).catch((error: unknown) => {
          // Whatever it is, the node looks itself, and does what is to be done about it.
          log.debug({ err: error, chunk: id, node: node.id }, "a chunk cannot be read past its node");
        });
        if (here !== undefined) return here;
        const get = { chunk: id, off, len };
        const { payload } = await link.ask({ $case: "get", value: get }, undefined, deadlines.chunkMs);
        if (payload.length > len) throw new FsError("EPROTO", `${node.address} gave more than was asked for`);
        this.#badUntilMs.delete(node.id);
        return payload;
      } catch (error) {
        this.#note(node, errnoOf(error));
        log.debug({ err: error, chunk: id, node: node.id }, "a node did not give a chunk");
        throw error;
      }
    };
    try {
      return await firstOf(candidates, attempt, { hedgeMs, clock });
    } catch (error) {
      if (!(error instanceof AllFailed)) throw error;
      throw new FsError("EIO", `chunk ${id} cannot be read: ${error.message}`, { cause: error });
    }
  }

  stop(): Promise<void> {
    for (const link of this.#links.values()) link.stop();
    return Promise.resolve();
  }

  /** Those of the nodes that the map knows, in the same order. */
  #known(ids: readonly number[]): NodeInfo[] {
    const { nodes } = this.parts.map();
    return ids.flatMap((id) => nodes.find((node) => node.id === id) ?? []);
  }

  #link(node: NodeInfo): StoreLink {
    const { key, volume, clock, deadlines, shortCircuit = false, network = grpc } = this.parts;
    const { address } = node;
    const place = placeOf(node);
    let link = this.#links.get(place);
    if (link === undefined) {
      const opts = {
        address,
        node: node.id,
        key,
        volume,
        clock,
        connectMs: deadlines.connectMs,
        idleMs: IDLE_MS,
        shortCircuit,
        network,
      };
      link = new StoreLink(opts);
      this.#links.set(place, link);
    }
    return link;
  }

  /** A chunk that is bad or missing says nothing about the node. */
  #note(node: NodeInfo, errno: string): void {
    if (!["EIO", "ETIMEDOUT", "ECONNREFUSED", "EPROTO", "EACCES"].includes(errno)) return;
    this.#badUntilMs.set(node.id, this.parts.clock.monotonicMs() + BAD_MS);
  }
}

/** Where to ask for a node: one daemon may be several. */
function placeOf({ id, address }: NodeInfo): string {
  return `${id}@${address}`;
}
