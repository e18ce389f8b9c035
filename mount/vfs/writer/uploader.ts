import type { Logger } from "pino";
import type { Clock } from "../../../daemon/common/clock.js";
import type { Deadlines } from "../../../daemon/common/deadlines.js";
import { FsError, errnoOf } from "../../../proto/errno.js";
import type { ChunkClient, MetaClient } from "../ports.js";
import { Backoff, OVER, Semaphore, asError, within } from "../waiting.js";
import { Blame } from "./blame.js";
import { Ids } from "../ids.js";

/** Chunks on their way to the nodes, of all files together. */
const UPLOADS_MAX = 8;

const CHUNK_IDS = { from: "alloc", perRequest: 64, low: 16 } as const;

export interface UploaderParts {
  readonly meta: MetaClient;
  readonly chunks: ChunkClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly deadlines: Deadlines;
}

export interface StoreOptions {
  /** Fsync before a copy counts. */
  readonly sync: boolean;
  readonly signal: AbortSignal;
  /** Copies that the file wants; 0: as many as the volume. */
  readonly replicas: number;
}

/** Stores bytes as chunks. */
export class Uploader {
  readonly ids: Ids;
  readonly #lanes = new Semaphore(UPLOADS_MAX);

  constructor(private readonly parts: UploaderParts) {
    this.ids = new Ids(parts.meta, CHUNK_IDS);
  }

  /**
   * Resolves with the chunk that holds the bytes on minReplicas nodes, registered; `replicas`: how many copies the file
   * wants, or else as many as the volume, and never are more waited for than it wants. A put that fails is planned anew with
   * another id and without the nodes that are to blame, up to ioDeadline; ENOSPC only when every node that is up had its
   * turn and nothing but ENOSPC was heard. The bytes must not change meanwhile.
   */
  store(data: Buffer, opts: StoreOptions): Promise<number> {
    const end = this.parts.clock.monotonicMs() + this.parts.deadlines.ioDeadlineMs;
    return this.#lanes.run(() => this.#store(data, opts, end));
  }

  async #store(data: Buffer, opts: StoreOptions, end: number): Promise<number> {
    const { meta, clock, log, deadlines } = this.parts;
    const replicas = opts.replicas || meta.volume.replicas;
    const minReplicas = Math.min(meta.volume.minReplicas, replicas);
    const backoff = new Backoff(clock, deadlines.reconnectMinMs, deadlines.reconnectMaxMs);
    const blame = new Blame();
    let onlyFull = true;
    for (let tries = 1; ; tries++) {
      if (opts.signal.aborted) throw new FsError("EINTR");
      const id = await this.ids.next();
      const up = meta.map.nodes.filter((node) => node.state === "UP").length;
      const nodes = blame.choose(id, meta.map, replicas, tries > up ? minReplicas : replicas);
      if (nodes.length < minReplicas) onlyFull = false;
      else {
        const failure = await this.#put(id, data, nodes, {
          ...opts,
          minCopies: minReplicas,
          leftMs: end - clock.monotonicMs(),
        });
        if (failure === undefined) return id;
        if (opts.signal.aborted) throw failure;
        blame.add(nodes);
        if (errnoOf(failure) !== "ENOSPC") onlyFull = false;
        log.debug({ err: failure, chunk: id, nodes, tries }, "a chunk was not stored");
        if (onlyFull && tries > up) throw new FsError("ENOSPC", "every storage node is full");
      }
      if (clock.monotonicMs() >= end) {
        throw new FsError(onlyFull ? "ENOSPC" : "EIO", `not stored on ${minReplicas} nodes within the deadline`);
      }
      if (nodes.length < minReplicas || tries >= up) await backoff.wait(opts.signal);
    }
  }

  /** The error, or undefined when it is stored. */
  async #put(
    id: number,
    data: Buffer,
    nodes: readonly number[],
    opts: StoreOptions & { minCopies: number; leftMs: number },
  ): Promise<Error | undefined> {
    const { chunks, clock, deadlines } = this.parts;
    const abort = new AbortController();
    try {
      const { minCopies, sync, replicas } = opts;
      const wanted = replicas === 0 ? {} : { wanted: replicas };
      const put = chunks.put({ id, data, nodes, minCopies, sync, signal: abort.signal, ...wanted });
      await within(clock, Math.max(1, Math.min(deadlines.chunkMs, opts.leftMs)), put, opts.signal);
      return undefined;
    } catch (error) {
      return asError(error);
    } finally {
      abort.abort(OVER);
    }
  }
}
