import type { Logger } from "pino";
import { errnoOf, fail, FsError } from "../../proto/errno.js";
import type { QuarantineChunks, Replicate, VerifyChunks } from "../../proto/gen/bigfs/v1/node.js";
import type { ChunkStore } from "./chunk-store.js";
import type { Push } from "./node-link.js";
import { Budget } from "./parallel.js";
import type { Peers } from "./peers.js";
import type { Reports } from "./reports.js";
import type { Scrub } from "./scrub.js";

export interface PushesParts {
  readonly store: ChunkStore;
  readonly peers: Peers;
  readonly reports: Reports;
  readonly scrub: Pick<Scrub, "all">;
  readonly log: Logger;
}

/** Copies that are fetched at one time. */
const FETCHES = 4;
/** Orders to verify that are worked on at one time. */
const VERIFIES = 2;

/** Does what the metadata daemon tells this node to do, and reports it. */
export class Pushes {
  readonly #fetches = new Budget(FETCHES);
  readonly #verifies = new Budget(VERIFIES);
  readonly #abort = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor(
    private readonly parts: PushesParts,
    /** One try to get a chunk from another node. */
    private readonly opts: { readonly chunkMs: number },
  ) {}

  /** Never throws. */
  handle(push: Push): void {
    const run = this.#do(push)
      .catch((error: unknown) => {
        this.parts.log.error({ err: error, push: push.$case }, "what the metadata daemon asked for could not be done");
      })
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  /** Resolves when nothing is being done any more. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#running);
  }

  async #do(push: Push): Promise<void> {
    switch (push.$case) {
      case "replicate":
        return this.#fetches.run(1, () => this.#replicate(push.value));
      case "sync":
        return this.#sync(push.value.chunks);
      case "remove":
        return this.parts.reports.removed(await this.parts.store.remove(push.value.chunks));
      case "quarantine":
        return this.#quarantine(push.value);
      case "scrub":
        return this.parts.scrub.all();
      case "verify":
        return this.#verifies.run(1, () => this.#verify(push.value));
      case "map":
      case "joined":
        return undefined;
    }
  }

  async #sync(chunks: readonly number[]): Promise<void> {
    const { store, reports } = this.parts;
    await store.verifyUnverified(this.#abort.signal, chunks);
    const { synced, lost } = await store.sync(chunks);
    await Promise.all([reports.synced(synced), ...lost.map((chunk) => reports.lost(chunk, "ENOENT"))]);
  }

  /** Others will be removed because these are here: so they are read from the disk, when they are fsynced. */
  async #verify({ number, chunks }: VerifyChunks): Promise<void> {
    const { store, reports, log } = this.parts;
    await this.#sync(chunks);
    const good: number[] = [];
    for (const chunk of chunks) {
      if (this.#abort.signal.aborted) return;
      if (store.entry(chunk)?.synced !== true) continue;
      try {
        await store.verify(chunk);
        good.push(chunk);
      } catch (error) {
        log.warn({ err: error, chunk }, "a copy that others would have been removed for cannot be read");
      }
    }
    await reports.verified(number, good);
  }

  async #quarantine({ chunks, why }: QuarantineChunks): Promise<void> {
    const { store, reports } = this.parts;
    const reason = `the metadata daemon cannot explain it${why === undefined ? "" : `: ${why}`}`;
    for (const chunk of chunks) {
      if (await store.quarantine(chunk, reason)) await reports.lost(chunk, "ESTALE");
    }
  }

  async #replicate(order: Replicate): Promise<void> {
    const { store, reports, log } = this.parts;
    if (this.#abort.signal.aborted) return;
    try {
      const entry = store.entry(order.chunk);
      if (entry === undefined || entry.crc !== order.crc || entry.len !== order.len) await this.#fetch(order);
      else await this.#sync([order.chunk]);
      // From the disk again: the copy is what others will be made from.
      await store.verify(order.chunk);
      await reports.confirm(order.chunk);
    } catch (error) {
      log.warn({ err: error, chunk: order.chunk }, "a copy could not be made");
      await reports.notReplicated(order.chunk, errnoOf(error));
    }
  }

  /** Takes the chunk from the first node that gives it whole. */
  async #fetch(order: Replicate): Promise<void> {
    const { store, peers } = this.parts;
    await store.mustHaveRoom(order.len);
    let last = new FsError("EIO", "no node is named that has it");
    for (const from of order.from) {
      try {
        const op = { $case: "get" as const, value: { chunk: order.chunk, off: 0, len: order.len } };
        const { payload } = await peers.ask(from, op, Buffer.alloc(0), this.opts.chunkMs);
        if (payload.length !== order.len) fail("EBADMSG", `node ${from.node} gave ${payload.length} bytes`);
        return await store.put({ id: order.chunk, crc: order.crc, data: payload, sync: true });
      } catch (error) {
        last = error instanceof FsError ? error : new FsError("EIO", String(error));
        if (last.errno === "ENOSPC" || last.errno === "EEXIST") throw last;
      }
    }
    throw last;
  }
}
