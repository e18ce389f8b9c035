/**
 * Rows in memory: present ones and those known to be absent.
 *
 * Invariants:
 * - A row that some operation changed and that is not durable yet (`batch` > 0) stays, whatever the bound says.
 * - A row that somebody pinned stays. Whoever loads a row pins it from before the load until after `loaded()`, so a row
 *   that was put meanwhile is still there and wins over what the load brings.
 * - Every other row is in `#idle`, which is bounded; nothing is in both maps.
 * - `#entries` counts the entries of each folder that are in memory. The executor keeps whole operations, so a folder's
 *   row, when it is here, says how many there are; where both numbers agree, a name that is not in memory does not exist.
 */
import { LRUCache } from "lru-cache";
import { kindOf, type Key, type RowKind, type Rows } from "./keys.js";
import type { Row } from "./row-codec.js";

/** Who changed a row, and the last batch that carries a change of theirs. */
export interface Writer {
  readonly session: number;
  readonly batch: number;
}

/** What is known of a row: `row` undefined says that there is none. */
export interface Known {
  readonly row: Row | undefined;
  /** The last batch that changes it; 0 when it is as stored. */
  readonly batch: number;
  /** Sessions (never 0) with changes that were not durable when they were made. */
  readonly writers: readonly Writer[];
  /** The same for changes of nothing but a folder's times and counters. */
  readonly counters: readonly Writer[];
}

interface Held extends Known {
  row: Row | undefined;
  /** False while only the place is held for a load. */
  isLoaded: boolean;
  pins: number;
  batch: number;
  writers: readonly Writer[];
  counters: readonly Writer[];
  bytes: number;
}

interface Idle extends Known {
  readonly bytes: number;
}

const NOBODY: readonly Writer[] = [];

/** Stored replies are written, almost never read, and soon deleted: they would only push out others. */
const FLEETING: RowKind = "Q";

/** So many bytes of a stored row count as one row of the bound. */
const BYTES_PER_ROW = 512;

export class RowCache {
  readonly #held = new Map<Key, Held>();
  readonly #idle: LRUCache<Key, Idle>;
  /** Uncommitted cookie rows by folder, because listings ask for them. */
  readonly #dirtyCookies = new Map<string, Set<Key>>();
  readonly #entries = new Map<string, number>();
  #dirty = 0;

  /** `rows`: how many rows that nobody holds are kept; large ones count as several. */
  constructor(opts: { readonly rows: number }) {
    this.#idle = new LRUCache({
      maxSize: opts.rows,
      sizeCalculation: (idle) => 1 + Math.floor(idle.bytes / BYTES_PER_ROW),
      dispose: (idle, key, reason) => {
        if (reason === "evict") this.#recount(key, idle.row, undefined);
      },
    });
  }

  /** undefined: not in memory. */
  get(key: Key): Known | undefined {
    const held = this.#held.get(key);
    if (held !== undefined) return held.isLoaded ? held : undefined;
    return this.#idle.get(key);
  }

  /** It is not in memory, and not in the store either. */
  isAbsent(key: Key): boolean {
    if (kindOf(key) !== "E") return false;
    const folder = key.slice(1, 15);
    const known = this.get(`I${folder}` as Key<"I">);
    if (known?.row === undefined) return false;
    return (known.row as Rows["I"]).children === (this.#entries.get(folder) ?? 0);
  }

  /** Rows in memory. */
  get size(): number {
    return this.#held.size + this.#idle.size;
  }

  /** Rows with changes that are not durable. */
  get dirty(): number {
    return this.#dirty;
  }

  pin(key: Key): void {
    this.#hold(key).pins++;
  }

  unpin(key: Key): void {
    const held = this.#held.get(key);
    if (held === undefined || held.pins === 0) throw new Error(`row ${JSON.stringify(key)} is not pinned`);
    held.pins--;
    this.#settle(key, held);
  }

  /** What a load of a pinned row brought; ignored when the row is known by now. */
  loaded(key: Key, row: Row | undefined, bytes: number): void {
    const held = this.#held.get(key);
    if (held === undefined || held.pins === 0) throw new Error(`row ${JSON.stringify(key)} was loaded without a pin`);
    if (held.isLoaded) return;
    this.#recount(key, undefined, row);
    Object.assign(held, { row, bytes, isLoaded: true });
  }

  /** A change by `session` that `batch` carries. `durable` is the last durable batch. */
  put(
    key: Key,
    row: Row | undefined,
    change: { session: number; batch: number; durable: number; bytes: number; onlyCounts?: boolean },
  ): void {
    const held = this.#hold(key);
    if (held.batch === 0) this.#markDirty(key);
    this.#recount(key, held.row, row);
    held.row = row;
    held.isLoaded = true;
    held.bytes = change.bytes;
    held.batch = change.batch;
    if (change.onlyCounts === true) held.counters = writersAfter(held.counters, change);
    else held.writers = writersAfter(held.writers, change);
  }

  /** `batch` is durable, and this is one of its rows. */
  durable(key: Key, batch: number): void {
    const held = this.#held.get(key);
    if (held === undefined || held.batch !== batch) return;
    held.batch = 0;
    held.writers = NOBODY;
    held.counters = NOBODY;
    this.#unmarkDirty(key);
    this.#settle(key, held);
  }

  /** The rows with uncommitted changes whose keys are from <= key < to, in no order. */
  *dirtyIn(from: string, to: string): Generator<[Key, Known]> {
    const folder = folderOf(from);
    const cookies = folder !== undefined && folder === folderOf(to);
    for (const key of cookies ? (this.#dirtyCookies.get(folder) ?? []) : this.#held.keys()) {
      const held = this.#held.get(key);
      if (held !== undefined && held.batch > 0 && key >= from && key < to) yield [key, held];
    }
  }

  #hold(key: Key): Held {
    const known = this.#held.get(key);
    if (known !== undefined) return known;
    const idle = this.#idle.get(key);
    if (idle !== undefined) this.#idle.delete(key);
    const held: Held = {
      row: idle?.row,
      isLoaded: idle !== undefined,
      pins: 0,
      batch: 0,
      writers: NOBODY,
      counters: NOBODY,
      bytes: idle?.bytes ?? 0,
    };
    this.#held.set(key, held);
    return held;
  }

  #settle(key: Key, held: Held): void {
    if (held.pins > 0 || held.batch > 0) return;
    this.#held.delete(key);
    if (!held.isLoaded || kindOf(key) === FLEETING) return;
    this.#idle.set(key, { row: held.row, batch: 0, writers: NOBODY, counters: NOBODY, bytes: held.bytes });
    // What is larger than the whole bound is not taken.
    if (!this.#idle.has(key)) this.#recount(key, held.row, undefined);
  }

  #recount(key: Key, before: Row | undefined, after: Row | undefined): void {
    if (kindOf(key) !== "E" || (before === undefined) === (after === undefined)) return;
    const folder = key.slice(1, 15);
    const count = (this.#entries.get(folder) ?? 0) + (after === undefined ? -1 : 1);
    if (count === 0) this.#entries.delete(folder);
    else this.#entries.set(folder, count);
  }

  #markDirty(key: Key): void {
    this.#dirty++;
    const folder = folderOf(key);
    if (folder === undefined) return;
    const keys = this.#dirtyCookies.get(folder);
    if (keys === undefined) this.#dirtyCookies.set(folder, new Set([key]));
    else keys.add(key);
  }

  #unmarkDirty(key: Key): void {
    this.#dirty--;
    const folder = folderOf(key);
    if (folder === undefined) return;
    const keys = this.#dirtyCookies.get(folder);
    keys?.delete(key);
    if (keys?.size === 0) this.#dirtyCookies.delete(folder);
  }
}

/** The known row as the kind that the key says. */
export function rowOf<K extends RowKind>(_key: Key<K>, known: Known): Rows[K] | undefined {
  return known.row as Rows[K] | undefined;
}

function folderOf(key: string): string | undefined {
  return kindOf(key as Key) === "C" && key.length >= 15 ? key.slice(0, 15) : undefined;
}

function writersAfter(
  writers: readonly Writer[],
  change: { session: number; batch: number; durable: number },
): readonly Writer[] {
  const others = writers.filter((writer) => writer.batch > change.durable && writer.session !== change.session);
  return change.session === 0 ? others : [...others, { session: change.session, batch: change.batch }];
}
