import { spansOf } from "../../daemon/common/overlay.js";
import type { Slice } from "../../proto/gen/bigfs/v1/rows.js";
import type { ChunkPlace } from "../../proto/gen/bigfs/v1/meta.js";
import { fail } from "../../proto/errno.js";
import { type Core, SELF, mustAttr } from "./core.js";
import type { ChunkCache } from "./reader/chunk-cache.js";
import { Semaphore, within } from "./waiting.js";
import type { Uploader } from "./writer/uploader.js";

export interface CompactorParts {
  readonly core: Core;
  readonly cache: ChunkCache;
  readonly uploader: Uploader;
}

/** A slot as it was when it was asked for. */
interface Read {
  /** Copies that the file wants. */
  readonly replicas: number;
  readonly slices: readonly Slice[];
  readonly places: ReadonlyMap<number, ChunkPlace>;
}

const NOTHING = Buffer.alloc(0);
/** A file that is written here all the time would never be as it was: its writers wait for the second try, at most so long. */
const HELD_MS = 1_000;

/**
 * Puts the pieces of slots together, as the metadata daemon asks: reads what is stored (what was written here and is not
 * stored yet comes on top later), stores it as one chunk, and has the slices replaced if they are the same still. Holes
 * stay holes. What fails is left as it is: it is noted again when the slot is used again.
 */
export class Compactor {
  readonly #lane = new Semaphore(1);
  readonly #abort = new AbortController();

  constructor(private readonly parts: CompactorParts) {}

  compact(ino: number, slot: number): Promise<void> {
    return this.#lane.run(() => this.#compact(ino, slot));
  }

  stop(): void {
    this.#abort.abort();
  }

  async #compact(ino: number, slot: number): Promise<void> {
    const { core } = this.parts;
    if (core.opts.readOnly || this.#abort.signal.aborted) return;
    if (await this.#replace(ino, slot)) return;
    const file = core.inodes.get(ino)?.file;
    if (file === undefined || file.gate.isBusy) return;
    await file.gate.run(() => within(core.parts.clock, HELD_MS, this.#replace(ino, slot)));
  }

  /** False: the slot has changed meanwhile. */
  async #replace(ino: number, slot: number): Promise<boolean> {
    const { core, uploader } = this.parts;
    const { signal } = this.#abort;
    const read = await this.#read(ino, slot);
    if (read === undefined) return true;
    const chunk = await uploader.store(await this.#bytes(read), { sync: true, signal, replicas: read.replicas });
    let off = 0;
    const after = spansOf(read.slices).map(({ pos, len }) => {
      const slice = { pos, len, chunk, off, inline: NOTHING };
      off += len;
      return slice;
    });
    return core.ask("compact", { ino, slot, before: [...read.slices], after }, SELF, (reply, ticket) => {
      const attr = mustAttr(reply.attr);
      const inode = core.inodes.get(ino);
      if (!reply.done || inode === undefined) return reply.done;
      core.inodes.keepPages(inode, attr, ticket);
      inode.file?.reshaped(attr);
      core.inodes.absorb(attr, reply.cached, ticket);
      core.answers.inodeChanged(ino);
      return true;
    });
  }

  /** undefined: there is nothing to gain. */
  #read(ino: number, slot: number): Promise<Read | undefined> {
    return this.parts.core.ask("slots", { ino, first: slot, count: 1 }, SELF, (reply) => {
      const slices = reply.slots.find((info) => info.slot === slot)?.slices ?? [];
      if (spansOf(slices).length === slices.length) return undefined;
      const { replicas = 0 } = mustAttr(reply.attr);
      return { replicas, slices, places: new Map(reply.chunks.map((place) => [place.chunk, place])) };
    });
  }

  /** All that is not a hole, one behind the other. */
  async #bytes({ slices, places }: Read): Promise<Buffer> {
    const parts = slices.map(async ({ chunk, off, len, inline }) => {
      if (chunk === 0) return inline;
      const place = places.get(chunk) ?? fail("EIO", `nobody knows where chunk ${chunk} is`);
      return this.parts.cache.load(place, off, len, false);
    });
    return Buffer.concat(await Promise.all(parts));
  }
}
