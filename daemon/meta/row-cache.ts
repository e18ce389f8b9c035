/**
 * Rows in memory: present ones and those known to be absent.
 *
 * Invariants:
 * - A row that some operation changed and that is not durable yet (`batch` > 0) stays, whatever the bound says.
 * - A row that somebody pinned stays. Whoever loads a row pins it from before the load until after `loaded()`, so a row
 *   that was put meanwhile is still there and wins over what the load brings.
 * - Every other row is idle: it is in the list `#idle`, which is bounded, and the one that was used longest ago goes.
 * - One map for all rows: a row that becomes busy and idle again keeps its place, because a map entry that is removed and
 *   added with every change leaves a hole each time, and is soon looked for among thousands of them.
 * - `#entries` counts the entries of each folder that are in memory. The executor keeps whole operations, so a folder's
 *   row, when it is here, says how many there are; where both numbers agree, a name that is not in memory does not exist.
 * - What rows take is estimated (`sizeOf`), which holds as long as each buffer in a row is its own: a slice of Node's pool
 *   keeps 8 KiB alive (`collectForManyRows`).
 */
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
  readonly key: Key;
  row: Row | undefined;
  /** False while only the place is held for a load. */
  isLoaded: boolean;
  pins: number;
  batch: number;
  writers: readonly Writer[];
  counters: readonly Writer[];
  bytes: number;
  /** Neighbours among the idle rows; both undefined: it is not idle. */
  older: Linked | undefined;
  newer: Linked | undefined;
}

/** A row in the list of idle ones, or the list's own end: `newer` of the end is the oldest row, `older` the newest. */
interface Linked {
  older: Linked | undefined;
  newer: Linked | undefined;
}

const NOBODY: readonly Writer[] = [];

/** Stored replies are written, almost never read, and soon deleted: they would only push out others. */
const FLEETING: RowKind = "Q";

/**
 * Bytes of memory that a row takes besides what is stored of it, with its key and its place here; measured with rows that
 * were decoded (Node 20, heap and buffers after a full collection).
 */
const OVERHEAD: { readonly [K in RowKind]?: number } = { I: 750, E: 250, C: 450, S: 700, K: 550 };
const OVERHEAD_OTHERS = 500;
const OVERHEAD_ABSENT = 250;

export class RowCache {
  readonly #rows = new Map<Key, Held>();
  readonly #idle: Linked = { older: undefined, newer: undefined };
  readonly #idleMax: number;
  #idleSize = 0;
  /** Uncommitted cookie rows by folder, because listings ask for them. */
  readonly #dirtyCookies = new Map<string, Set<Key>>();
  readonly #entries = new Map<string, number>();
  /** Rows with changes that are not durable. */
  readonly #dirty = new Set<Held>();

  /** `bytes`: memory of the rows that nobody holds. */
  constructor(opts: { readonly bytes: number }) {
    this.#idleMax = opts.bytes;
    this.#idle.older = this.#idle;
    this.#idle.newer = this.#idle;
  }

  /** undefined: not in memory. */
  get(key: Key): Known | undefined {
    const held = this.#rows.get(key);
    if (held?.isLoaded !== true) return undefined;
    if (held.newer !== undefined && held.newer !== this.#idle) {
      this.#unlink(held);
      this.#link(held);
    }
    return held;
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
    return this.#rows.size;
  }

  /** Rows with changes that are not durable. */
  get dirty(): number {
    return this.#dirty.size;
  }

  pin(key: Key): void {
    this.#hold(key).pins++;
  }

  unpin(key: Key): void {
    const held = this.#rows.get(key);
    if (held === undefined || held.pins === 0) throw new Error(`row ${JSON.stringify(key)} is not pinned`);
    held.pins--;
    this.#settle(held);
  }

  /** What a load of a pinned row brought; ignored when the row is known by now. */
  loaded(key: Key, row: Row | undefined, bytes: number): void {
    const held = this.#rows.get(key);
    if (held === undefined || held.pins === 0) throw new Error(`row ${JSON.stringify(key)} was loaded without a pin`);
    if (held.isLoaded) return;
    this.#recount(key, undefined, row);
    Object.assign(held, { row, bytes, isLoaded: true });
  }

  /** There is no such row, and never was: whoever makes it need not look. */
  absent(key: Key): void {
    if (this.#rows.has(key)) return;
    const held = this.#hold(key);
    held.isLoaded = true;
    this.#settle(held);
  }

  /** A change by `session` that `batch` carries. `durable` is the last durable batch. */
  put(
    key: Key,
    row: Row | undefined,
    change: { session: number; batch: number; durable: number; bytes: number; onlyCounts?: boolean },
  ): void {
    const held = this.#hold(key);
    if (held.batch === 0) this.#markDirty(held);
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
    const held = this.#rows.get(key);
    if (held === undefined || held.batch === 0 || held.batch !== batch) return;
    held.batch = 0;
    held.writers = NOBODY;
    held.counters = NOBODY;
    this.#unmarkDirty(held);
    this.#settle(held);
  }

  /** The rows with uncommitted changes whose keys are from <= key < to, in no order. */
  *dirtyIn(from: string, to: string): Generator<[Key, Known]> {
    const folder = folderOf(from);
    const cookies = folder !== undefined && folder === folderOf(to);
    if (cookies) {
      for (const key of this.#dirtyCookies.get(folder) ?? []) {
        const held = this.#rows.get(key);
        if (held !== undefined && key >= from && key < to) yield [key, held];
      }
      return;
    }
    for (const held of this.#dirty) if (held.key >= from && held.key < to) yield [held.key, held];
  }

  #hold(key: Key): Held {
    const known = this.#rows.get(key);
    if (known !== undefined) {
      if (known.newer !== undefined) this.#unlink(known);
      return known;
    }
    const held: Held = {
      key,
      row: undefined,
      isLoaded: false,
      pins: 0,
      batch: 0,
      writers: NOBODY,
      counters: NOBODY,
      bytes: 0,
      older: undefined,
      newer: undefined,
    };
    this.#rows.set(key, held);
    return held;
  }

  #settle(held: Held): void {
    if (held.pins > 0 || held.batch > 0) return;
    if (!held.isLoaded || kindOf(held.key) === FLEETING) {
      this.#rows.delete(held.key);
      return;
    }
    this.#link(held);
    if (sizeOf(held) > this.#idleMax) this.#evict(held);
    while (this.#idleSize > this.#idleMax) this.#evict(this.#idle.newer as Held);
  }

  #evict(held: Held): void {
    this.#unlink(held);
    this.#rows.delete(held.key);
    this.#recount(held.key, held.row, undefined);
  }

  #link(held: Held): void {
    const newest = this.#idle.older as Linked;
    held.older = newest;
    held.newer = this.#idle;
    newest.newer = held;
    this.#idle.older = held;
    this.#idleSize += sizeOf(held);
  }

  #unlink(held: Held): void {
    const { older, newer } = held as { older: Linked; newer: Linked };
    older.newer = newer;
    newer.older = older;
    held.older = undefined;
    held.newer = undefined;
    this.#idleSize -= sizeOf(held);
  }

  #recount(key: Key, before: Row | undefined, after: Row | undefined): void {
    if (kindOf(key) !== "E" || (before === undefined) === (after === undefined)) return;
    const folder = key.slice(1, 15);
    const count = (this.#entries.get(folder) ?? 0) + (after === undefined ? -1 : 1);
    if (count === 0) this.#entries.delete(folder);
    else this.#entries.set(folder, count);
  }

  #markDirty(held: Held): void {
    this.#dirty.add(held);
    const folder = folderOf(held.key);
    if (folder === undefined) return;
    const keys = this.#dirtyCookies.get(folder);
    if (keys === undefined) this.#dirtyCookies.set(folder, new Set([held.key]));
    else keys.add(held.key);
  }

  #unmarkDirty(held: Held): void {
    this.#dirty.delete(held);
    const folder = folderOf(held.key);
    if (folder === undefined) return;
    const keys = this.#dirtyCookies.get(folder);
    keys?.delete(held.key);
    if (keys?.size === 0) this.#dirtyCookies.delete(folder);
  }
}

/** Bytes of memory, about. */
function sizeOf({ key, row, bytes }: Held): number {
  return row === undefined ? OVERHEAD_ABSENT : (OVERHEAD[kindOf(key)] ?? OVERHEAD_OTHERS) + bytes;
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
