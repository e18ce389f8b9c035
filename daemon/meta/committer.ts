/**
 * Writes row changes in batches: while one batch is being committed, the next gathers. A batch that nobody waits for
 * gathers for a while, because a commit costs about as much for one operation as for many.
 *
 * Invariants:
 * - Batches are numbered 1, 2, ... and committed in that order, one at a time; `durable` is the last that is on disk.
 * - A batch holds whole operations: an operation's changes are added in one call.
 * - After a failed commit nothing is ever durable again: what waits, and whoever asks later, gets EIO.
 */
import { FsError } from "../../proto/errno.js";
import type { Key } from "./keys.js";
import type { Batch, MetaStore } from "./metastore.js";

export interface CommitterOptions {
  /** When to start a batch: after the input that is ready now was handled, so that it shares the commit. */
  readonly defer?: (start: () => void) => void;
  /** Called with the first change of a batch: when to start it although nobody waits for it; default: at once. */
  readonly later?: (start: () => void) => void;
}

export class Committer {
  /** Resolves when a commit has failed: the daemon must stop. */
  readonly failed: Promise<Error>;
  readonly #store: MetaStore;
  readonly #defer: (start: () => void) => void;
  readonly #later: ((start: () => void) => void) | undefined;
  readonly #listeners: ((durable: number, keys: Iterable<Key>) => void)[] = [];
  #open = new Gathering(1);
  #writing: Gathering | undefined;
  #durable = 0;
  #failure: FsError | undefined;
  #tellFailure!: (error: Error) => void;
  #isDeferred = false;

  constructor(parts: { readonly store: MetaStore }, opts: CommitterOptions = {}) {
    this.#store = parts.store;
    this.#defer = opts.defer ?? setImmediate;
    this.#later = opts.later;
    this.failed = new Promise((resolve) => (this.#tellFailure = resolve));
  }

  /** The last durable batch; 0 before the first. */
  get durable(): number {
    return this.#durable;
  }

  /** The batch that the next change goes into. */
  get gathering(): number {
    return this.#open.number;
  }

  /** Bytes of the changes that are not durable. */
  get bytes(): number {
    return this.#open.bytes + (this.#writing?.bytes ?? 0);
  }

  /** EIO once a commit has failed. */
  get failure(): FsError | undefined {
    return this.#failure;
  }

  /** Adds one operation's changes (undefined: no such row any more) to the batch that gathers. */
  add(changes: ReadonlyMap<Key, Uint8Array | undefined>): void {
    const batch = this.#open;
    if (batch.isEmpty && changes.size > 0) {
      if (this.#later === undefined) batch.isWanted = true;
      else this.#later(() => this.#want(batch));
    }
    for (const [key, bytes] of changes) batch.set(key, bytes);
    this.#startSoon();
  }

  /** Resolves when the batch is durable; rejects FsError EIO when it cannot be any more. */
  whenDurable(batch: number): Promise<void> {
    if (batch <= this.#durable) return Promise.resolve();
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (batch === this.#writing?.number) return this.#writing.done;
    if (batch !== this.#open.number) throw new Error(`batch ${String(batch)} does not exist yet`);
    this.#want(this.#open);
    return this.#open.done;
  }

  /** Resolves when everything that was added is durable. */
  async drained(): Promise<void> {
    if (!this.#open.isEmpty) return this.whenDurable(this.#open.number);
    if (this.#writing !== undefined) return this.#writing.done;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Resolves when the next batch is durable. */
  async progress(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#writing === undefined) this.#want(this.#open);
    await (this.#writing ?? this.#open).done;
  }

  /** Called after each commit, in order, with the keys that it wrote, before whoever waits for it goes on. */
  onDurable(fn: (durable: number, keys: Iterable<Key>) => void): void {
    this.#listeners.push(fn);
  }

  #want(batch: Gathering): void {
    batch.isWanted = true;
    this.#startSoon();
  }

  #startSoon(): void {
    if (this.#isDeferred || this.#writing !== undefined || this.#failure !== undefined) return;
    if (this.#open.isEmpty || !this.#open.isWanted) return;
    this.#isDeferred = true;
    this.#defer(() => {
      this.#isDeferred = false;
      void this.#commit();
    });
  }

  async #commit(): Promise<void> {
    const batch = this.#open;
    this.#writing = batch;
    this.#open = new Gathering(batch.number + 1);
    try {
      await this.#store.commit(batch);
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#writing = undefined;
    this.#durable = batch.number;
    for (const listener of this.#listeners) listener(batch.number, batch.keys());
    batch.succeed();
    this.#startSoon();
  }

  #fail(cause: unknown): void {
    this.#failure = new FsError("EIO", "metadata could not be saved", { cause });
    this.#writing?.fail(this.#failure);
    this.#open.fail(this.#failure);
    this.#tellFailure(cause instanceof Error ? cause : this.#failure);
  }
}

/** A batch and those who wait for it. */
class Gathering implements Batch {
  readonly puts = new Map<string, Uint8Array>();
  readonly dels = new Set<string>();
  readonly done: Promise<void>;
  /** Of keys and values. */
  bytes = 0;
  /** It is to be written now. */
  isWanted = false;
  succeed!: () => void;
  fail!: (error: FsError) => void;

  constructor(readonly number: number) {
    this.done = new Promise((resolve, reject) => {
      this.succeed = resolve;
      this.fail = reject;
    });
    this.done.catch(() => undefined); // that nobody waits is no error
  }

  get isEmpty(): boolean {
    return this.puts.size === 0 && this.dels.size === 0;
  }

  set(key: Key, bytes: Uint8Array | undefined): void {
    const known = this.puts.get(key);
    if (known === undefined && !this.dels.has(key)) this.bytes += key.length;
    this.bytes += (bytes?.length ?? 0) - (known?.length ?? 0);
    if (bytes === undefined) {
      this.puts.delete(key);
      this.dels.add(key);
      return;
    }
    this.dels.delete(key);
    this.puts.set(key, bytes);
  }

  *keys(): Generator<Key> {
    for (const key of this.puts.keys()) yield key as Key;
    for (const key of this.dels) yield key as Key;
  }
}
