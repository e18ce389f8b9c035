import type { InodeRow, SlotRow } from "../../proto/gen/bigfs/v1/rows.js";
import { idIn, kindOf, type Key, type RowKind, type Rows } from "./keys.js";
import { isCrowded } from "./rules/slices.js";
import type { Tx } from "./tx.js";

/** A row that caches may hold was changed: an inode's, or an entry's. */
export interface Change {
  readonly key: Key<"I"> | Key<"E">;
  /** Inodes: data or size, not only attributes. */
  readonly data: boolean;
  /** The row is no more. */
  readonly gone: boolean;
}

type Inode = Readonly<InodeRow>;

/** A transaction that remembers what a rule did. */
export class Observed implements Tx {
  readonly #before = new Map<Key, Inode | undefined>();
  readonly #after = new Map<Key<"I"> | Key<"E">, Inode | "entry" | undefined>();
  readonly #withData = new Set<number>();
  readonly #orphans: number[] = [];
  readonly #crowded = new Set<Key<"S">>();
  #hasChanged = false;
  #sweeps = false;

  constructor(private readonly tx: Tx) {}

  get hasChanged(): boolean {
    return this.#hasChanged;
  }

  /** Files that it left without a name, and open. */
  get orphans(): readonly number[] {
    return this.#orphans;
  }

  /** Slots that it looked at or left in many pieces. */
  get crowded(): ReadonlySet<Key<"S">> {
    return this.#crowded;
  }

  /** It left work for the sweeper. */
  get sweeps(): boolean {
    return this.#sweeps;
  }

  get<K extends RowKind>(key: Key<K>): Readonly<Rows[K]> | undefined {
    const row = this.tx.get(key);
    const kind = kindOf(key);
    if (kind === "I" && !this.#before.has(key)) this.#before.set(key, row as Inode | undefined);
    else if (kind === "S") this.#noteSlot(key as Key<"S">, row as Readonly<SlotRow> | undefined);
    return row;
  }

  put<K extends RowKind>(key: Key<K>, row: Rows[K]): void {
    this.tx.put(key, row);
    this.#note(key, row);
  }

  del(key: Key): void {
    this.tx.del(key);
    this.#note(key, undefined);
  }

  preload(keys: readonly Key[]): void {
    this.tx.preload?.(keys);
  }

  /** What whoever caches must be told; a new time of the last access is nothing. */
  changes(): Change[] {
    const changes: Change[] = [];
    for (const [key, after] of this.#after) {
      if (after === "entry" || kindOf(key) === "E") {
        changes.push({ key, data: false, gone: after === undefined });
        continue;
      }
      const before = this.#before.get(key);
      const slots = this.#withData.has(idIn(key));
      if (before === undefined || after === undefined) changes.push({ key, data: true, gone: after === undefined });
      else if (slots || hasOtherData(before, after)) changes.push({ key, data: true, gone: false });
      else if (hasOtherAttributes(before, after)) changes.push({ key, data: false, gone: false });
    }
    return changes;
  }

  /** Inodes that were put, as they are now. */
  *inodes(): Generator<Inode> {
    for (const after of this.#after.values()) if (after !== undefined && after !== "entry") yield after;
  }

  #note(key: Key, row: Rows[RowKind] | undefined): void {
    this.#hasChanged = true;
    const kind = kindOf(key);
    if (kind === "I") this.#after.set(key as Key<"I">, row as Inode | undefined);
    else if (kind === "E") this.#after.set(key as Key<"E">, row && "entry");
    else if (kind === "S") {
      this.#withData.add(idIn(key));
      this.#noteSlot(key as Key<"S">, row as SlotRow | undefined);
    } else if (kind === "O" && row !== undefined) this.#orphans.push(idIn(key));
    else if (kind === "W") this.#sweeps = true;
  }

  #noteSlot(key: Key<"S">, row: Readonly<SlotRow> | undefined): void {
    if (row !== undefined && isCrowded(row.slices)) this.#crowded.add(key);
    else this.#crowded.delete(key);
  }
}

function hasOtherData(a: Inode, b: Inode): boolean {
  return a.size !== b.size || a.truncSeq !== b.truncSeq;
}

const SHOWN = ["mode", "uid", "gid", "nlink", "rdev", "stored", "hasXattrs", "acl", "defaultAcl"] as const;

/** Xattrs change the ctime too. */
function hasOtherAttributes(a: Inode, b: Inode): boolean {
  if (SHOWN.some((field) => a[field] !== b[field])) return true;
  return (["mtime", "ctime"] as const).some((time) => a[time]?.sec !== b[time]?.sec || a[time]?.nsec !== b[time]?.nsec);
}
