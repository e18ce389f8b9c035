import type {
  ChunkRow,
  CommitRow,
  CookieRow,
  EntryRow,
  GarbageRow,
  InodeRow,
  NodeRow,
  OrphanRow,
  RangeRow,
  ReplicaChangeRow,
  ReplyRow,
  SessionRow,
  SlotRow,
  SweepRow,
  UnsyncedRow,
  UsageRow,
  VolumeRow,
  XattrsRow,
} from "../../proto/gen/bigfs/v1/rows.js";
import type { Name } from "../../proto/name.js";

/** The row kinds, by the first character of their keys. */
export interface Rows {
  V: VolumeRow;
  A: UsageRow;
  I: InodeRow;
  E: EntryRow;
  C: CookieRow;
  S: SlotRow;
  X: XattrsRow;
  K: ChunkRow;
  U: UnsyncedRow;
  G: GarbageRow;
  N: NodeRow;
  R: RangeRow;
  P: SessionRow;
  Q: ReplyRow;
  O: OrphanRow;
  W: SweepRow;
  Z: CommitRow;
  B: ReplicaChangeRow;
}

export type RowKind = keyof Rows;

/**
 * Key of a row: latin1 text (one character per byte), ordered as its bytes. The kind, then ids as 14 hex digits (so that
 * they sort as numbers), then a name's bytes where there is one.
 */
export type Key<K extends RowKind = RowKind> = string & { readonly __kind: K };

/** Ids come again and again: what they look like, by their last digits. */
const SEEN = 4096;
const seenIds = new Float64Array(SEEN).fill(-1);
const seenHex: string[] = new Array<string>(SEEN).fill("");

/** 14 lower-case hex digits: enough for 2^53. */
export function hex(id: number): string {
  const at = id % SEEN;
  if (seenIds[at] === id) return seenHex[at] ?? "";
  const text = id.toString(16).padStart(14, "0");
  if (at >= 0 && Number.isInteger(at)) {
    seenIds[at] = id;
    seenHex[at] = text;
  }
  return text;
}

export const key = {
  volume: "V" as Key<"V">,
  usage: "A" as Key<"A">,
  inode: (ino: number) => `I${hex(ino)}` as Key<"I">,
  entry: (dir: number, name: Name) => `E${hex(dir)}${name}` as Key<"E">,
  cookie: (dir: number, cookie: number) => `C${hex(dir)}${hex(cookie)}` as Key<"C">,
  slot: (ino: number, slot: number) => `S${hex(ino)}${hex(slot)}` as Key<"S">,
  xattrs: (ino: number) => `X${hex(ino)}` as Key<"X">,
  chunk: (id: number) => `K${hex(id)}` as Key<"K">,
  unsynced: (ino: number) => `U${hex(ino)}` as Key<"U">,
  garbage: (chunk: number) => `G${hex(chunk)}` as Key<"G">,
  node: (id: number) => `N${hex(id)}` as Key<"N">,
  range: (first: number) => `R${hex(first)}` as Key<"R">,
  session: (id: number) => `P${hex(id)}` as Key<"P">,
  reply: (session: number, id: number) => `Q${hex(session)}${hex(id)}` as Key<"Q">,
  orphan: (ino: number) => `O${hex(ino)}` as Key<"O">,
  commit: "Z" as Key<"Z">,
  sweep: (ino: number) => `W${hex(ino)}` as Key<"W">,
  replicaChange: (ino: number) => `B${hex(ino)}` as Key<"B">,
};

/** The kind of a key. */
export function kindOf(k: Key): RowKind {
  return k.charAt(0) as RowKind;
}

/** The n-th id (from 0) in a key. */
export function idIn(k: Key, n = 0): number {
  return parseInt(k.slice(1 + 14 * n, 15 + 14 * n), 16);
}

/** The name at the end of an entry key. */
export function nameIn(k: Key<"E">): Name {
  return k.slice(15) as Name;
}
