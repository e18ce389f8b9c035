import type { BinaryWriter } from "@bufbuild/protobuf/wire";
import * as rows from "../../proto/gen/bigfs/v1/rows.js";
import { kindOf, type Key, type RowKind, type Rows } from "./keys.js";

/** Any row. */
export type Row = Rows[RowKind];

interface Codec<T> {
  encode(row: T): BinaryWriter;
  decode(bytes: Uint8Array): T;
}

const CODECS: { readonly [K in RowKind]: Codec<Rows[K]> } = {
  V: rows.VolumeRow,
  A: rows.UsageRow,
  I: rows.InodeRow,
  E: rows.EntryRow,
  C: rows.CookieRow,
  S: rows.SlotRow,
  X: rows.XattrsRow,
  K: rows.ChunkRow,
  U: rows.UnsyncedRow,
  G: rows.GarbageRow,
  N: rows.NodeRow,
  R: rows.RangeRow,
  P: rows.SessionRow,
  Q: rows.ReplyRow,
  O: rows.OrphanRow,
  W: rows.SweepRow,
  Z: rows.CommitRow,
  B: rows.ReplicaChangeRow,
};

/** The stored bytes of a row. Throws when a field is out of its type's range. */
export function encodeRow<K extends RowKind>(key: Key<K>, row: Rows[K]): Uint8Array {
  return codecOf(key).encode(row).finish();
}

/** The row in these bytes, sharing no memory with them. Throws when they are not a row of that kind. */
export function decodeRow<K extends RowKind>(key: Key<K>, bytes: Uint8Array): Rows[K] {
  return codecOf(key).decode(bytes);
}

function codecOf<K extends RowKind>(key: Key<K>): Codec<Rows[K]> {
  const kind = kindOf(key);
  if (!Object.hasOwn(CODECS, kind)) throw new Error(`no row kind has the key ${JSON.stringify(key)}`);
  return CODECS[kind as K];
}
