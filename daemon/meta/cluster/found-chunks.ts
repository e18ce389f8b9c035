import type { Logger } from "pino";
import { FsError } from "../../../proto/errno.js";
import type { Executor } from "../executor.js";
import { key, type Key } from "../keys.js";
import { isFound } from "../rules/chunks.js";
import { settleFound } from "../rules/found.js";
import type { ChunkChanges } from "./changes.js";
import { pages } from "./pages.js";

export interface FoundChunksParts {
  readonly executor: Executor;
  readonly changes: ChunkChanges;
  readonly log: Logger;
}

/** Chunks that one search is for. */
const CHUNKS_MAX = 10_000;
/** Slots that may name one of them. With more it is kept as it is, and fsck tells of it. */
const SLOTS_MAX = 1000;

/**
 * Asks all slots for chunks that nobody knew before nodes told of them (see rules/found.ts): none of these is removed
 * because its row was lost. There are few such chunks, and without any nothing is searched.
 */
export class FoundChunks {
  constructor(private readonly parts: FoundChunksParts) {}

  /** A search that fails decides nothing. */
  async pass(signal: AbortSignal): Promise<void> {
    const found = await this.#undecided(signal);
    if (found.size === 0) return;
    for await (const rows of pages<"S">(this.parts.executor, { from: "S", to: "T" }, signal)) {
      for (const { key: slot, row } of rows) {
        const named = new Set([...row.slices.map(({ chunk }) => chunk), ...row.dropped]);
        for (const chunk of named) found.get(chunk)?.push(slot);
      }
    }
    if (signal.aborted) return;
    await this.#settle([...found].filter(([, slots]) => slots.length === 0));
    for (const [chunk, slots] of found) {
      if (slots.length > SLOTS_MAX) this.parts.log.error({ chunk }, "a lost chunk needs 'bigfsd fsck --repair'");
      else if (slots.length > 0) await this.#settle([[chunk, slots]]);
    }
  }

  async #settle(found: readonly Found[]): Promise<void> {
    const { changes, log } = this.parts;
    const about = { chunkOf: ([chunk]: Found) => chunk, hint: rowsOf };
    const { outcomes } = await changes.run(found, about, (tx, [chunk, slots]) => settleFound(tx, chunk, slots));
    for (const { item, result: inos = [] } of outcomes) {
      if (inos instanceof FsError) throw inos;
      if (inos.length > 0) log.warn({ chunk: item[0], inos }, "a chunk was not known any more, and files need it");
    }
  }

  async #undecided(signal: AbortSignal): Promise<Map<number, Key<"S">[]>> {
    const found = new Map<number, Key<"S">[]>();
    for await (const rows of pages<"G">(this.parts.executor, { from: "G", to: "H" }, signal)) {
      for (const { row } of rows) {
        if (!row.deleting && isFound(row)) found.set(row.chunk, []);
        if (found.size === CHUNKS_MAX) return found;
      }
    }
    return found;
  }
}

type Found = readonly [chunk: number, slots: readonly Key<"S">[]];

function rowsOf(found: readonly Found[]): Key[] {
  return found.flatMap(([chunk, slots]) => [key.chunk(chunk), key.garbage(chunk), ...slots]);
}
