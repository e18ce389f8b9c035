/**
 * Ranges of rows in key order: a page of the store, with what was not in the store yet laid over it.
 *
 * A page of the store shows some moment while it was read. What was uncommitted when the read began, and what changed
 * since, is kept aside until the read ends (though the cache may have let go of it by then) and replaces what the page
 * says of those keys. All other rows were the same all the time, so the result is the state of one moment: that at
 * which the read ended.
 */
import { FsError } from "../../proto/errno.js";
import { nameOf, type Name } from "../../proto/name.js";
import type { Committer } from "./committer.js";
import { hex, idIn, type Key, type RowKind, type Rows } from "./keys.js";
import { DamagedRow, type MetaStore, type StoredRow } from "./metastore.js";
import type { RowCache } from "./row-cache.js";
import { decodeRow, type Row } from "./row-codec.js";
import { holdOf } from "./transaction.js";

export interface Scanned<K extends RowKind> {
  readonly rows: readonly { readonly key: Key<K>; readonly row: Rows[K] }[];
  /** Where the next page begins; undefined: there is no more. */
  readonly next: string | undefined;
}

export interface ListedEntry {
  readonly name: Name;
  readonly ino: number;
  /** S_IFMT bits. */
  readonly type: number;
  readonly cookie: number;
}

export interface Listed {
  readonly entries: readonly ListedEntry[];
  /** True: there is nothing after these. */
  readonly end: boolean;
}

interface Range {
  readonly from: string;
  readonly to: string;
}

interface Reading extends Range {
  readonly changes: Map<Key, Row | undefined>;
}

export class Listing {
  readonly #store: MetaStore;
  readonly #cache: RowCache;
  readonly #committer: Committer;
  readonly #readings = new Set<Reading>();

  constructor(parts: { readonly store: MetaStore; readonly cache: RowCache; readonly committer: Committer }) {
    this.#store = parts.store;
    this.#cache = parts.cache;
    this.#committer = parts.committer;
  }

  /** The executor tells every change that it keeps. */
  changed(changes: ReadonlyMap<Key, Row | undefined>): void {
    for (const reading of this.#readings) {
      for (const [key, row] of changes) if (key >= reading.from && key < reading.to) reading.changes.set(key, row);
    }
  }

  /**
   * Rows with from <= key < to, at most `limit`, fewer than that also before the end; none only at the end. Resolves
   * when everything in it that another session changed is durable.
   */
  async scan<K extends RowKind>(session: number, range: Range & { readonly limit: number }): Promise<Scanned<K>> {
    let from = range.from;
    if (range.limit < 1) throw new RangeError("a scan needs a limit of 1 or more");
    for (;;) {
      const page = await this.#page<K>(session, { ...range, from });
      await this.#committer.whenDurable(page.hold);
      if (this.#committer.failure !== undefined) throw this.#committer.failure;
      if (page.rows.length > 0 || page.next === undefined) return page;
      from = page.next;
    }
  }

  /** Entries of a folder with cookies above `after`, in their order. */
  async list(session: number, query: { dir: number; after: number; limit: number }): Promise<Listed> {
    const prefix = `C${hex(query.dir)}`;
    const page = await this.scan<"C">(session, {
      from: `${prefix}${hex(query.after + 1)}`,
      to: `${prefix}g`,
      limit: query.limit,
    });
    const entries = page.rows.map(({ key, row }) => ({
      name: nameOf(row.name),
      ino: row.ino,
      type: row.type,
      cookie: idIn(key, 1),
    }));
    return { entries, end: page.next === undefined };
  }

  async #page<K extends RowKind>(
    session: number,
    range: Range & { readonly limit: number },
  ): Promise<Scanned<K> & { hold: number }> {
    const reading: Reading = { from: range.from, to: range.to, changes: new Map() };
    for (const [key, known] of this.#cache.dirtyIn(range.from, range.to)) reading.changes.set(key, known.row);
    this.#readings.add(reading);
    try {
      const stored = await this.#store.scan(range);
      const page = merge<K>(stored, reading.changes, range);
      return { ...page, hold: this.#hold(session, reading.changes.keys(), page.next ?? range.to) };
    } catch (cause) {
      const what = cause instanceof DamagedRow ? cause.message : "metadata could not be read";
      throw new FsError("EIO", what, { cause });
    } finally {
      this.#readings.delete(reading);
    }
  }

  #hold(session: number, changed: Iterable<Key>, before: string): number {
    let hold = 0;
    for (const key of changed) {
      const known = key < before ? this.#cache.get(key) : undefined;
      if (known !== undefined) hold = Math.max(hold, holdOf(key, known, session));
    }
    return hold;
  }
}

/** The rows of the page with the changes laid over it, as far as the page goes. */
function merge<K extends RowKind>(
  stored: readonly StoredRow[],
  changes: ReadonlyMap<Key, Row | undefined>,
  range: Range & { readonly limit: number },
): Scanned<K> {
  const last = stored.at(-1);
  const next = last === undefined || stored.length < range.limit ? undefined : after(last.key);
  const rows = new Map<string, Row>();
  for (const { key, value } of stored) if (!changes.has(key as Key)) rows.set(key, decodeRow(key as Key, value));
  for (const [key, row] of changes) if (row !== undefined && (next === undefined || key < next)) rows.set(key, row);
  const sorted = [...rows]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, row]) => ({ key: key as Key<K>, row: row as Rows[K] }));
  const kept = sorted.slice(0, range.limit);
  const lastKept = kept.at(-1);
  return { rows: kept, next: sorted.length > range.limit && lastKept !== undefined ? after(lastKept.key) : next };
}

/** The smallest key above this one. */
function after(key: string): string {
  return `${key}\0`;
}
