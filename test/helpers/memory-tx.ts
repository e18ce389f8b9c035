import { LIMITS } from "../../proto/limits.js";
import { type Key, type RowKind, type Rows, kindOf } from "../../daemon/meta/keys.js";
import { decodeRow, encodeRow } from "../../daemon/meta/row-codec.js";
import { RowMissing, type Tx } from "../../daemon/meta/tx.js";

type Row = Rows[RowKind];

/**
 * Rows in a map, for tests of rules. Each row goes through its encoding, so that what would not survive the store does
 * not survive here either, and is frozen. `cold`: each run starts with nothing in memory and is run again for each row
 * that it misses, as the executor does.
 */
export class MemoryRows {
  readonly #rows = new Map<Key, Row>();
  readonly #cold: boolean;

  constructor(opts: { cold?: boolean } = {}) {
    this.#cold = opts.cold ?? false;
  }

  /** Runs the rule to its end and keeps its changes, unless it throws. */
  run<T>(rule: (tx: Tx) => T): T {
    const loaded = this.#cold ? new Set<Key>() : undefined;
    for (;;) {
      const tx = new MemoryTx(this.#rows, loaded);
      try {
        const value = rule(tx);
        this.#keep(tx.changes);
        return value;
      } catch (error) {
        if (!(error instanceof RowMissing)) throw error;
        for (const key of [error.key, ...error.others]) loaded?.add(key);
      }
    }
  }

  get<K extends RowKind>(key: Key<K>): Readonly<Rows[K]> | undefined {
    return this.#rows.get(key) as Rows[K] | undefined;
  }

  /** All rows of one kind, in order of their keys. */
  of<K extends RowKind>(kind: K): [Key<K>, Readonly<Rows[K]>][] {
    const found = [...this.#rows].filter(([key]) => kindOf(key) === kind) as [Key<K>, Rows[K]][];
    return found.sort(([a], [b]) => (a < b ? -1 : 1));
  }

  #keep(changes: ReadonlyMap<Key, Uint8Array | undefined>): void {
    if (changes.size > LIMITS.rowsPerOperation) throw new Error(`${changes.size} rows in one operation`);
    for (const [key, bytes] of changes) {
      if (bytes === undefined) this.#rows.delete(key);
      else this.#rows.set(key, frozen(decodeRow(key, bytes)));
    }
  }
}

class MemoryTx implements Tx {
  readonly changes = new Map<Key, Uint8Array | undefined>();
  readonly #rows: ReadonlyMap<Key, Row>;
  readonly #loaded: ReadonlySet<Key> | undefined;

  constructor(rows: ReadonlyMap<Key, Row>, loaded: ReadonlySet<Key> | undefined) {
    this.#rows = rows;
    this.#loaded = loaded;
  }

  get<K extends RowKind>(key: Key<K>): Readonly<Rows[K]> | undefined {
    const bytes = this.changes.get(key);
    if (bytes !== undefined) return frozen(decodeRow(key, bytes));
    if (this.changes.has(key)) return undefined;
    if (this.#loaded?.has(key) === false) throw new RowMissing(key);
    return this.#rows.get(key) as Rows[K] | undefined;
  }

  put<K extends RowKind>(key: Key<K>, row: Rows[K]): void {
    this.changes.set(key, encodeRow(key, row));
  }

  del(key: Key): void {
    this.changes.set(key, undefined);
  }

  preload(keys: readonly Key[]): void {
    const [first, ...others] = keys.filter((key) => this.#loaded?.has(key) === false);
    if (first !== undefined) throw new RowMissing(first, others);
  }
}

/** Everything in it read-only, but for the contents of buffers, which cannot be frozen. */
function frozen<T>(value: T): T {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  for (const inner of Object.values(value)) frozen(inner);
  return Object.freeze(value);
}
