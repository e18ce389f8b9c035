/**
 * Which chunks of a file may still be on no disk. Entries are in the order of their commits; one is dropped when the
 * chunk is synced on M nodes or nothing names it any more.
 */
import type { UnsyncedRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { isSynced, preloadChunks } from "./replicas.js";
import { volumeOf } from "./volume.js";

/** Entries that one call looks at. */
const LOOKED_AT = 64;

/** More than this in one file, and commits wait (EAGAIN) until storage has synced. */
export const UNSYNCED_MAX = 4096;

/**
 * Notes those of the chunks that are not synced on M nodes; the change that names them makes the file's next version.
 * EAGAIN when too many wait already.
 */
export function noteUnsynced(tx: Tx, file: { ino: number; version: number }, chunks: readonly number[]): void {
  const { minReplicas } = volumeOf(tx);
  const fresh = chunks.filter((id) => {
    const chunk = tx.get(key.chunk(id));
    return chunk !== undefined && !isSynced(chunk, minReplicas);
  });
  if (fresh.length === 0) return;
  const version = file.version + 1;
  const row = looked(tx, tx.get(key.unsynced(file.ino)), version);
  if (row.chunks.length + fresh.length > UNSYNCED_MAX) fail("EAGAIN", `inode ${file.ino}: too much is not synced`);
  tx.put(key.unsynced(file.ino), {
    chunks: [...row.chunks, ...fresh],
    versions: [...row.versions, ...fresh.map(() => version)],
  });
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
  preloadChunks(tx, row.chunks.slice(start, start + LOOKED_AT));
  const keep = row.chunks.map((id, i) => {
    if (i < start || i >= start + LOOKED_AT) return true;
    const chunk = tx.get(key.chunk(id));
    return chunk !== undefined && chunk.refs > 0 && !isSynced(chunk, minReplicas);
  });
  return { chunks: row.chunks.filter((_, i) => keep[i]), versions: row.versions.filter((_, i) => keep[i]) };
}
