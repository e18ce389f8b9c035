/**
 * Runs rules, one at a time and each to its end, on the rows in memory.
 *
 * Invariants:
 * - A rule's changes enter the cache and the gathering batch in the same turn in which it ran; so operations have one
 *   order (`order`), batches are cut between operations, and what survives a crash is a prefix of that order.
 * - Nothing is kept of a rule that threw.
 * - What is not durable is shown to the session that did it and to no other: execute() settles when all that it saw or
 *   replaced of others' is durable, but for what is exempt (exempt.ts); the daemon (session 0) holds nobody.
 */
import type { Logger } from "pino";
import { FsError } from "../../proto/errno.js";
import { Committer, type CommitterOptions } from "./committer.js";
import { onlyCounts } from "./exempt.js";
import type { Key, RowKind } from "./keys.js";
import { Listing, type Listed, type Scanned } from "./listing.js";
import type { MetaStore } from "./metastore.js";
import { RowCache } from "./row-cache.js";
import { encodeRow, type Row } from "./row-codec.js";
import { RowLoader } from "./row-loader.js";
import { Transaction, type Guard } from "./transaction.js";
import { RowHeld, RowMissing, type Tx } from "./tx.js";

export interface Executed<T> {
  readonly value: T;
  /** The batch that carries the change; 0: nothing was changed. */
  readonly batch: number;
  /** Position in the order of execution: 1, 2, ... since the daemon started. */
  readonly order: number;
  /** The rows that it changed. */
  readonly changed: readonly Key[];
}

export interface ExecuteOptions {
  /** Rows that the rule will read; those not in memory are loaded together before its first run. */
  readonly hint?: readonly Key[];
  /** What the operation was asked to do, for the log when its rule breaks. */
  readonly input?: unknown;
  /** It was admitted before, and somebody was told: it is not refused now. */
  readonly isAdmitted?: boolean;
  /** Asked before each row that is read. */
  readonly guard?: Guard;
}

type Admit = (changes: ReadonlyMap<Key, Row | undefined>, before: (key: Key) => Row | undefined) => void;

export interface ExecutorOptions extends CommitterOptions {
  /** Memory of the rows that are not in use; default 48 MiB. */
  readonly cacheBytes?: number;
  /** When so many changed rows wait to become durable, or so many bytes of them, execute() waits; default 20,000. */
  readonly dirtyRows?: number;
  /** Default 32 MiB. */
  readonly dirtyBytes?: number;
  /** Sees the changes of an operation before they are kept (and the rows before), and throws FsError to refuse them. */
  readonly admit?: Admit;
}

/** More runs of one rule than this mean that it never ends. */
const RUNS_MAX = 20_000;

/** `hold`: the batch that must be durable before the session may be told. */
type Settled<T> =
  | { readonly kind: "done"; readonly executed: Executed<T>; readonly hold: number }
  | { readonly kind: "refused"; readonly error: FsError; readonly hold: number };

type Outcome<T> =
  | Settled<T>
  | { readonly kind: "missing"; readonly keys: readonly Key[]; readonly reads: readonly Key[] }
  | { readonly kind: "held"; readonly over: Promise<void> };

export class Executor {
  readonly #cache: RowCache;
  readonly #loader: RowLoader;
  readonly #committer: Committer;
  readonly #listing: Listing;
  readonly #log: Logger;
  readonly #dirtyRows: number;
  readonly #dirtyBytes: number;
  readonly #admit: Admit | undefined;
  #order = 0;

  constructor(parts: { readonly store: MetaStore; readonly log: Logger }, opts: ExecutorOptions = {}) {
    const { store, log } = parts;
    this.#log = log;
    this.#cache = new RowCache({ bytes: opts.cacheBytes ?? 48 * 1024 * 1024 });
    this.#loader = new RowLoader({ store, cache: this.#cache });
    this.#committer = new Committer({ store }, opts);
    this.#committer.onDurable((batch, keys) => {
      for (const key of keys) this.#cache.durable(key, batch);
    });
    this.#listing = new Listing({ store, cache: this.#cache, committer: this.#committer });
    this.#dirtyRows = opts.dirtyRows ?? 20_000;
    this.#dirtyBytes = opts.dirtyBytes ?? 32 * 1024 * 1024;
    this.#admit = opts.admit;
  }

  /**
   * Runs the rule at once when all its rows are in memory, otherwise after loading them (it may run several times, and
   * nothing stays of the earlier runs). Settles when the result may be shown to that session; rejects with the rule's
   * FsError, or EIO when the rule broke, a row could not be read or a commit has failed.
   */
  async execute<T>(session: number, rule: (tx: Tx) => T, opts: ExecuteOptions = {}): Promise<Executed<T>> {
    while (this.#isFull()) await this.#committer.progress();
    const outcome = await this.#settle(session, rule, opts);
    if (outcome.hold > this.durable) await this.whenDurable(outcome.hold);
    if (outcome.kind === "refused") throw outcome.error;
    return outcome.executed;
  }

  /** Entries of a folder with cookies above `after`, as they were at one moment during the call. */
  list(session: number, query: { dir: number; after: number; limit: number }): Promise<Listed> {
    return this.#reading(this.#listing.list(session, query));
  }

  /**
   * Rows with from <= key < to in order, at most `limit`, as they were at one moment during the call. Fewer than
   * `limit` does not mean that there are no more; `next` undefined does.
   */
  scan<K extends RowKind>(session: number, range: { from: string; to: string; limit: number }): Promise<Scanned<K>> {
    return this.#reading(this.#listing.scan<K>(session, range));
  }

  /** These rows were never written: their ids are new. */
  neverWritten(keys: Iterable<Key>): void {
    for (const key of keys) this.#cache.absent(key);
  }

  /** The last durable batch. */
  get durable(): number {
    return this.#committer.durable;
  }

  /** Position of the operation that ran last. */
  get order(): number {
    return this.#order;
  }

  /** Rows in memory, and those of them whose changes are not durable. */
  get rows(): { readonly cached: number; readonly dirty: number } {
    return { cached: this.#cache.size, dirty: this.#cache.dirty };
  }

  /** Resolves when the batch is durable (0: at once); rejects FsError EIO when it cannot be any more. */
  whenDurable(batch: number): Promise<void> {
    return this.#committer.whenDurable(batch);
  }

  /** Calls `fn` after each commit with the number of the batch. */
  onDurable(fn: (durable: number) => void): void {
    this.#committer.onDurable(fn);
  }

  /** Resolves when a commit has failed: the daemon must stop. */
  get failed(): Promise<Error> {
    return this.#committer.failed;
  }

  /** EIO once a commit has failed; set before anybody who waits is told. */
  get failure(): FsError | undefined {
    return this.#committer.failure;
  }

  /** Resolves when every change so far is durable. */
  drained(): Promise<void> {
    return this.#committer.drained();
  }

  #isFull(): boolean {
    return this.#cache.dirty >= this.#dirtyRows || this.#committer.bytes >= this.#dirtyBytes;
  }

  async #settle<T>(session: number, rule: (tx: Tx) => T, opts: ExecuteOptions): Promise<Settled<T>> {
    const pinned = new Set<Key>();
    try {
      if (opts.hint?.some((key) => this.#cache.get(key) === undefined) === true) await this.#bring(opts.hint, pinned);
      for (let runs = 0; runs < RUNS_MAX; runs++) {
        const outcome = this.#run(session, rule, opts);
        if (outcome.kind === "missing") await this.#bring([...outcome.reads, ...outcome.keys], pinned);
        // What it will read besides is asked for at the same time.
        else if (outcome.kind === "held")
          await Promise.all([outcome.over, ...(opts.hint ?? []).map((key) => opts.guard?.(key))]);
        else return outcome;
      }
      throw this.#broken(new Error("a rule never has all the rows that it wants"), session, opts.input);
    } finally {
      for (const key of pinned) this.#cache.unpin(key);
    }
  }

  /** Loads what is missing of these rows; they stay in memory until they are unpinned. */
  async #bring(keys: readonly Key[], pinned: Set<Key>): Promise<void> {
    for (const key of keys) {
      if (pinned.has(key)) continue;
      pinned.add(key);
      this.#cache.pin(key);
    }
    await this.#reading(this.#loader.load(keys));
  }

  /** Who asked hears EIO alone; what and where is in the log. */
  async #reading<T>(result: Promise<T>): Promise<T> {
    try {
      return await result;
    } catch (error) {
      if (this.#committer.failure === undefined) this.#log.error({ err: error }, "metadata could not be read");
      throw error;
    }
  }

  #run<T>(session: number, rule: (tx: Tx) => T, { input, isAdmitted, guard }: ExecuteOptions): Outcome<T> {
    const tx = new Transaction(this.#cache, session, guard);
    let value: T;
    let encoded: Map<Key, Uint8Array | undefined>;
    try {
      if (this.#committer.failure !== undefined) throw this.#committer.failure;
      value = rule(tx);
      if (isAdmitted !== true) this.#admit?.(tx.changes, (key) => this.#cache.get(key)?.row);
      encoded = this.#encode(tx.changes);
    } catch (error) {
      if (error instanceof RowMissing) return { kind: "missing", keys: [error.key, ...error.others], reads: tx.reads };
      if (error instanceof RowHeld) return { kind: "held", over: error.over };
      const refusal = error instanceof FsError ? error : this.#broken(error, session, input);
      return { kind: "refused", error: refusal, hold: tx.hold };
    }
    const batch = this.#keep(session, tx, encoded);
    return {
      kind: "done",
      executed: { value, batch, order: ++this.#order, changed: [...encoded.keys()] },
      hold: tx.hold,
    };
  }

  /** Before anything is kept, so that a row that cannot be stored fails its own operation and not the batch. */
  #encode(changes: ReadonlyMap<Key, Row | undefined>): Map<Key, Uint8Array | undefined> {
    const encoded = new Map<Key, Uint8Array | undefined>();
    for (const [key, row] of changes) {
      const known = this.#cache.get(key);
      const isAbsent = known !== undefined && known.row === undefined && known.batch === 0;
      if (row !== undefined || !isAbsent) encoded.set(key, row && encodeRow(key, row));
    }
    return encoded;
  }

  #keep(session: number, tx: Transaction, encoded: ReadonlyMap<Key, Uint8Array | undefined>): number {
    if (encoded.size === 0) return 0;
    const batch = this.#committer.gathering;
    for (const [key, bytes] of encoded) {
      const row = tx.changes.get(key);
      const counts = onlyCounts(key, this.#cache.get(key)?.row, row);
      const change = { session, batch, durable: this.durable, bytes: bytes?.length ?? 0, onlyCounts: counts };
      this.#cache.put(key, row, change);
    }
    this.#listing.changed(tx.changes);
    this.#committer.add(encoded);
    return batch;
  }

  #broken(cause: unknown, session: number, input: unknown): FsError {
    this.#log.error({ err: cause, session, input }, "a rule broke; its operation failed");
    return new FsError("EIO", "internal error", { cause });
  }
}
