/**
 * Which chunks of a file may still be on no disk. Entries are in the order of their commits; one is dropped when the
 * chunk is synced on M nodes or nothing names it any more.
 */
import type { UnsyncedRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { isSynced } from "./chunks.js";
import { volumeOf } from "./volume.js";

/** Entries that one call looks at. */
const LOOKED_AT = 64;

/** More than this in one file, and commits wait (EAGAIN) until storage has synced. */
export const UNSYNCED_MAX = 4096;

/** Adds chunks that `version` of the file names; false when there are too many and nothing was added. */
export function addUnsynced(tx: Tx, ino: number, chunks: readonly number[], version: number): boolean {
  const row = looked(tx, tx.get(key.unsynced(ino)), version);
  if (chunks.length === 0) return true;
  if (row.chunks.length + chunks.length > UNSYNCED_MAX) return false;
  tx.put(key.unsynced(ino), {
    chunks: [...row.chunks, ...chunks],
    versions: [...row.versions, ...chunks.map(() => version)],
  });
  return true;
}

/** Drops what is synced among the oldest entries; the version of the oldest that is left, undefined when none is. */
export function pruneUnsynced(tx: Tx, ino: number): number | undefined {
  const before = tx.get(key.unsynced(ino));
  if (before === undefined) return undefined;
  const row = looked(tx, before, 0);
  if (row.chunks.length === 0) tx.del(key.unsynced(ino));
  else if (row.chunks.length < before.chunks.length) tx.put(key.unsynced(ino), row);
  return row.versions[0];
}

/** The row without what is synced among LOOKED_AT entries from a place that moves with `turn`. */
function looked(tx: Tx, row: Readonly<UnsyncedRow> | undefined, turn: number): UnsyncedRow {
  if (row === undefined) return { chunks: [], versions: [] };
  const { minReplicas } = volumeOf(tx);
  const start = row.chunks.length <= LOOKED_AT ? 0 : turn % row.chunks.length;
  const keep = row.chunks.map((id, i) => {
    if (i < start || i >= start + LOOKED_AT) return true;
    const chunk = tx.get(key.chunk(id));
    return chunk !== undefined && chunk.refs > 0 && !isSynced(chunk, minReplicas);
  });
  return { chunks: row.chunks.filter((_, i) => keep[i]), versions: row.versions.filter((_, i) => keep[i]) };
}
