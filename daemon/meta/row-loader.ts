/**
 * Brings rows from the store into the cache. Keys that are asked for while a load runs go together into the next one,
 * and a key is in at most one load.
 */
import { FsError } from "../../proto/errno.js";
import type { Key } from "./keys.js";
import { DamagedRow, type MetaStore } from "./metastore.js";
import type { RowCache } from "./row-cache.js";
import { decodeRow } from "./row-codec.js";

/** Keys of one load; more wait for the next. */
const KEYS_PER_LOAD = 1024;

export class RowLoader {
  readonly #store: MetaStore;
  readonly #cache: RowCache;
  /** What each key that is wanted waits for; rejects when that row could not be had. */
  readonly #wanted = new Map<Key, Waiting>();
  #queue: Waiting[] = [];
  #running = false;

  constructor(parts: { readonly store: MetaStore; readonly cache: RowCache }) {
    this.#store = parts.store;
    this.#cache = parts.cache;
  }

  /** Resolves when all these rows are (or were, if the caller did not pin them) in the cache; rejects FsError EIO. */
  async load(keys: Iterable<Key>): Promise<void> {
    const waits: Promise<void>[] = [];
    for (const key of keys) if (this.#cache.get(key) === undefined) waits.push(this.#want(key).done);
    await Promise.all(waits);
  }

  #want(key: Key): Waiting {
    const known = this.#wanted.get(key);
    if (known !== undefined) return known;
    const waiting = new Waiting(key);
    this.#cache.pin(key);
    this.#wanted.set(key, waiting);
    this.#queue.push(waiting);
    if (!this.#running) {
      this.#running = true;
      queueMicrotask(() => void this.#run());
    }
    return waiting;
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      const waiting = this.#queue.splice(0, KEYS_PER_LOAD);
      await this.#fetch(waiting);
      for (const wait of waiting) {
        this.#wanted.delete(wait.key);
        this.#cache.unpin(wait.key);
      }
    }
    this.#running = false;
  }

  /** A damaged row fails alone, not who waits for others of the same load. */
  async #fetch(waiting: readonly Waiting[]): Promise<void> {
    try {
      const values = await this.#store.load(waiting.map((wait) => wait.key));
      waiting.forEach((wait, i) => this.#keep(wait, values[i]));
    } catch (cause) {
      const isDamage = cause instanceof DamagedRow;
      if (isDamage && waiting.length > 1) return this.#fetchEach(waiting);
      const what = isDamage ? cause.message : "metadata could not be read";
      for (const wait of waiting) wait.fail(new FsError("EIO", what, { cause }));
    }
    return undefined;
  }

  async #fetchEach(waiting: readonly Waiting[]): Promise<void> {
    for (const wait of waiting) await this.#fetch([wait]);
  }

  #keep(wait: Waiting, value: Uint8Array | undefined): void {
    try {
      this.#cache.loaded(wait.key, value && decodeRow(wait.key, value), value?.length ?? 0);
      wait.succeed();
    } catch (cause) {
      wait.fail(new FsError("EIO", `row ${JSON.stringify(wait.key)} is damaged`, { cause }));
    }
  }
}

class Waiting {
  readonly done: Promise<void>;
  succeed!: () => void;
  fail!: (error: FsError) => void;

  constructor(readonly key: Key) {
    this.done = new Promise((resolve, reject) => {
      this.succeed = resolve;
      this.fail = reject;
    });
  }
}
