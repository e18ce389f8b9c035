/**
 * Runs rules about chunks, many in one operation, and tells everybody in the cluster who follows chunks what came out.
 */
import { FsError } from "../../../proto/errno.js";
import type { ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Executor } from "../executor.js";
import { key, type Key } from "../keys.js";
import type { Tx } from "../tx.js";
import { parts } from "./pages.js";

/** A chunk's row before and after; undefined: no row. */
export interface ChunkChange {
  readonly chunk: number;
  readonly before: Readonly<ChunkRow> | undefined;
  readonly after: Readonly<ChunkRow> | undefined;
}

export interface Outcome<I, T> {
  readonly item: I;
  /** What the rule returned, or why it refused this one. */
  readonly result: T | FsError;
  readonly after: Readonly<ChunkRow> | undefined;
}

export interface Outcomes<I, T> {
  readonly outcomes: readonly Outcome<I, T>[];
  /** All of it is on disk with this batch. */
  readonly batch: number;
}

/** Chunks in one operation: it changes a few rows for each, and nothing else runs meanwhile. */
const CHUNKS_PER_OPERATION = 128;

export class ChunkChanges {
  readonly #listeners: ((change: ChunkChange) => void)[] = [];

  constructor(private readonly executor: Executor) {}

  /** Called for each chunk that a rule here was run for, whether or not its row changed. Must not throw. */
  onChange(fn: (change: ChunkChange) => void): void {
    this.#listeners.push(fn);
  }

  /** Runs the rule for each item; one that is refused does not hold up the others. */
  async run<I, T>(
    items: readonly I[],
    about: { readonly chunkOf: (item: I) => number; readonly hint?: (items: readonly I[]) => readonly Key[] },
    rule: (tx: Tx, item: I) => T,
  ): Promise<Outcomes<I, T>> {
    const all: Outcome<I, T>[] = [];
    let last = 0;
    for (const part of parts(items, CHUNKS_PER_OPERATION)) {
      const hint = about.hint?.(part) ?? part.map((item) => key.chunk(about.chunkOf(item)));
      const { value, batch } = await this.executor.execute(
        0,
        (tx) => part.map((item) => this.#one(tx, item, about.chunkOf(item), rule)),
        { hint },
      );
      last = Math.max(last, batch);
      for (const { outcome, change } of value) {
        all.push(outcome);
        for (const listener of this.#listeners) listener(change);
      }
    }
    return { outcomes: all, batch: last };
  }

  #one<I, T>(
    tx: Tx,
    item: I,
    chunk: number,
    rule: (tx: Tx, item: I) => T,
  ): { readonly outcome: Outcome<I, T>; readonly change: ChunkChange } {
    const before = tx.get(key.chunk(chunk));
    const result = refusable(() => rule(tx, item));
    const after = tx.get(key.chunk(chunk));
    return { outcome: { item, result, after }, change: { chunk, before, after } };
  }
}

function refusable<T>(run: () => T): T | FsError {
  try {
    return run();
  } catch (error) {
    if (error instanceof FsError) return error;
    throw error;
  }
}
