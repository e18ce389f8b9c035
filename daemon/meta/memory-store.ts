import type { Batch, MetaStore, StoredRow, StoreSnapshot } from "./metastore.js";

export type StoreCall = "load" | "scan" | "commit";

export interface MemoryStoreOptions {
  /**
   * Called before a call takes effect (a read: before it looks; a commit: before it is on disk) and after it, before
   * it resolves. What it throws fails the call.
   */
  readonly gate?: (call: StoreCall, when: "before" | "after") => void | Promise<void>;
}

/** A MetaStore in memory that can die: for tests and for simulation. */
export class MemoryStore implements MetaStore {
  readonly #opts: MemoryStoreOptions;
  readonly #rows: Map<string, Uint8Array>;
  #sorted: string[] | undefined;
  #isDead = false;
  #isCommitting = false;

  constructor(opts: MemoryStoreOptions = {}, rows: Iterable<readonly [string, Uint8Array]> = []) {
    this.#opts = opts;
    this.#rows = new Map(rows);
  }

  async load(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    await this.#pass("load", "before");
    const values = keys.map((key) => copyOf(this.#rows.get(key)));
    await this.#pass("load", "after");
    return values;
  }

  async scan({ from, to, limit }: { from: string; to: string; limit: number }): Promise<StoredRow[]> {
    await this.#pass("scan", "before");
    const keys = (this.#sorted ??= [...this.#rows.keys()].sort());
    const found: StoredRow[] = [];
    for (let i = firstNotBelow(keys, from); i < keys.length && found.length < limit; i++) {
      const key = keys[i];
      if (key === undefined || key >= to) break;
      found.push({ key, value: copyOf(this.#rows.get(key)) ?? new Uint8Array() });
    }
    await this.#pass("scan", "after");
    return found;
  }

  async commit(batch: Batch): Promise<void> {
    if (this.#isCommitting) throw new Error("two commits at once");
    this.#isCommitting = true;
    try {
      await this.#pass("commit", "before");
      for (const [key, value] of batch.puts) this.#rows.set(key, Uint8Array.from(value));
      for (const key of batch.dels) this.#rows.delete(key);
      this.#sorted = undefined;
      await this.#pass("commit", "after");
    } finally {
      this.#isCommitting = false;
    }
  }

  snapshot(): Promise<StoreSnapshot> {
    if (this.#isDead) return Promise.reject(new Error("snapshot: the store is closed"));
    return Promise.resolve(new MemoryStore({}, this.#rows));
  }

  close(): Promise<void> {
    this.#isDead = true;
    return Promise.resolve();
  }

  /** The machine dies: calls in flight and later ones fail. Returns what a new life finds: whole batches. */
  crash(opts: MemoryStoreOptions = this.#opts): MemoryStore {
    this.#isDead = true;
    return new MemoryStore(opts, this.#rows);
  }

  async #pass(call: StoreCall, when: "before" | "after"): Promise<void> {
    if (!this.#isDead) await this.#opts.gate?.(call, when);
    if (this.#isDead) throw new Error(`${call}: the store is closed`);
  }
}

function copyOf(value: Uint8Array | undefined): Uint8Array | undefined {
  return value && Uint8Array.from(value);
}

function firstNotBelow(sorted: readonly string[], key: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? "") < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
