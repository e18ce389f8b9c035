import { LIMITS } from "../../proto/limits.js";
import { countsMatter, isExempt } from "./exempt.js";
import type { Key, RowKind, Rows } from "./keys.js";
import type { Known, RowCache, Writer } from "./row-cache.js";
import { rowOf } from "./row-cache.js";
import type { Row } from "./row-codec.js";
import { RowHeld, RowMissing, type Tx } from "./tx.js";

/** Whether a row may be looked at; otherwise when it may be. */
export type Guard = (key: Key) => Promise<void> | undefined;

/** One run of a rule over the cache: its changes lie on top and are nobody else's until the executor keeps them. */
export class Transaction implements Tx {
  readonly #cache: RowCache;
  readonly #session: number;
  readonly #changes = new Map<Key, Row | undefined>();
  readonly #reads: Key[] = [];
  #hold = 0;

  constructor(
    cache: RowCache,
    session: number,
    private readonly guard?: Guard,
  ) {
    this.#cache = cache;
    this.#session = session;
  }

  get changes(): ReadonlyMap<Key, Row | undefined> {
    return this.#changes;
  }

  /** Keys that were read from the cache, some of them more than once. */
  get reads(): readonly Key[] {
    return this.#reads;
  }

  /** The answer may be shown when this batch is durable: others changed rows that were read or written here. */
  get hold(): number {
    return this.#hold;
  }

  get<K extends RowKind>(key: Key<K>): Readonly<Rows[K]> | undefined {
    if (this.#changes.has(key)) return this.#changes.get(key) as Rows[K] | undefined;
    const held = this.guard?.(key);
    if (held !== undefined) throw new RowHeld(held);
    const known = this.#cache.get(key);
    if (known === undefined) {
      if (this.#cache.isAbsent(key)) return undefined;
      throw new RowMissing(key);
    }
    this.#reads.push(key);
    this.#waitFor(key, known);
    return rowOf(key, known);
  }

  put<K extends RowKind>(key: Key<K>, row: Rows[K]): void {
    this.#change(key, row);
  }

  del(key: Key): void {
    this.#change(key, undefined);
  }

  preload(keys: readonly Key[]): void {
    const [first, ...others] = keys.filter((key) => !this.#isKnown(key));
    if (first !== undefined) throw new RowMissing(first, others);
  }

  #isKnown(key: Key): boolean {
    return this.#changes.has(key) || this.#cache.get(key) !== undefined || this.#cache.isAbsent(key);
  }

  #change(key: Key, row: Row | undefined): void {
    const known = this.#cache.get(key);
    if (known !== undefined) this.#waitFor(key, known);
    this.#changes.set(key, row);
    if (this.#changes.size > LIMITS.rowsPerOperation) throw new Error("an operation changes too many rows");
  }

  #waitFor(key: Key, known: Known): void {
    this.#hold = Math.max(this.#hold, holdOf(key, known, this.#session));
  }
}

/** The last batch with a change to this row that `session` may not see before it is durable. */
export function holdOf(key: Key, known: Known, session: number): number {
  if (known.batch === 0 || isExempt(key)) return 0;
  const hold = lastOfOthers(known.writers, session);
  return known.counters.length > 0 && countsMatter(known.row)
    ? Math.max(hold, lastOfOthers(known.counters, session))
    : hold;
}

function lastOfOthers(writers: readonly Writer[], session: number): number {
  let last = 0;
  for (const writer of writers) if (writer.session !== session && writer.batch > last) last = writer.batch;
  return last;
}
