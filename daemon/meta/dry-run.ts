import type { Key, RowKind, Rows } from "./keys.js";
import type { StoreSnapshot } from "./metastore.js";
import { decodeRow, type Row } from "./row-codec.js";
import { RowMissing, type Tx } from "./tx.js";

/** What a rule would say, on the rows of one moment; nothing is kept of what it changes. */
export async function dryRun<T>(rows: StoreSnapshot, rule: (tx: Tx) => T): Promise<T> {
  const loaded = new Map<Key, Row | undefined>();
  for (;;) {
    try {
      return rule(new DryTx(loaded));
    } catch (error) {
      if (!(error instanceof RowMissing)) throw error;
      for (const key of [error.key, ...error.others]) {
        const [found] = await rows.scan({ from: key, to: `${key}\0`, limit: 1 });
        loaded.set(key, found && decodeRow(key, found.value));
      }
    }
  }
}

class DryTx implements Tx {
  readonly #changes = new Map<Key, Row | undefined>();

  constructor(private readonly loaded: ReadonlyMap<Key, Row | undefined>) {}

  get<K extends RowKind>(key: Key<K>): Readonly<Rows[K]> | undefined {
    if (this.#changes.has(key)) return this.#changes.get(key) as Rows[K] | undefined;
    if (!this.loaded.has(key)) throw new RowMissing(key);
    return this.loaded.get(key) as Rows[K] | undefined;
  }

  put<K extends RowKind>(key: Key<K>, row: Rows[K]): void {
    this.#changes.set(key, row);
  }

  del(key: Key): void {
    this.#changes.set(key, undefined);
  }

  preload(keys: readonly Key[]): void {
    const [first, ...others] = keys.filter((key) => !this.#changes.has(key) && !this.loaded.has(key));
    if (first !== undefined) throw new RowMissing(first, others);
  }
}
