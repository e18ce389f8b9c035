/**
 * Which chunks of a file may still be on no disk. Entries are in the order of their commits; one is dropped when the
 * chunk is synced on M nodes or nothing names it any more.
 */
import type { InodeRow, UnsyncedRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { isSynced, preloadChunks } from "./replicas.js";
import { volumeOf } from "./volume.js";

/** Entries that a commit looks at. */
const LOOKED_AT = 64;

/** More than this in one file, and commits wait (EAGAIN) until storage has synced. */
export const UNSYNCED_MAX = 4096;

/**
 * Notes those of the chunks that are not synced on M nodes; the change that names them makes the file's next version.
 * EAGAIN when too many wait already. Returns whether the file has such chunks now (`hasUnsynced`).
 */
export function noteUnsynced(tx: Tx, file: Readonly<InodeRow>, chunks: readonly number[]): boolean {
  const volume = volumeOf(tx);
  const fresh = chunks.filter((id) => {
    const chunk = tx.get(key.chunk(id));
    return chunk !== undefined && !isSynced(chunk, volume);
  });
  if (fresh.length === 0) return file.hasUnsynced;
  const version = file.version + 1;
  const known = file.hasUnsynced ? tx.get(key.unsynced(file.ino)) : undefined;
  // A place that moves, so that one chunk that stays unsynced does not hide those behind it.
  const size = known?.chunks.length ?? 0;
  const row = looked(tx, known, { from: size > LOOKED_AT ? version % size : 0, count: LOOKED_AT });
  if (row.chunks.length + fresh.length > UNSYNCED_MAX) fail("EAGAIN", `inode ${file.ino}: too much is not synced`);
  tx.put(key.unsynced(file.ino), {
    chunks: [...row.chunks, ...fresh],
    versions: [...row.versions, ...fresh.map(() => version)],
  });
  return true;
}

/** What an fsync of this file has to wait for: its chunks that are not synced on M nodes. The others are dropped. */
export function unsyncedOf(tx: Tx, ino: number): readonly number[] {
  return prune(tx, ino, UNSYNCED_MAX).chunks;
}

/**
 * Drops what is synced among the oldest entries; the version of the oldest that is left, undefined when none is. (Called
 * for every file that has a row, now and then, it keeps those rows few.)
 */
export function pruneUnsynced(tx: Tx, ino: number): number | undefined {
  return prune(tx, ino, LOOKED_AT).versions[0];
}

function prune(tx: Tx, ino: number, count: number): Readonly<UnsyncedRow> {
  const before = tx.get(key.unsynced(ino));
  const row = looked(tx, before, { from: 0, count });
  if (before === undefined || row.chunks.length === before.chunks.length) return row;
  if (row.chunks.length === 0) tx.del(key.unsynced(ino));
  else tx.put(key.unsynced(ino), row);
  return row;
}

/** The row without what is synced among `count` entries. */
function looked(tx: Tx, row: Readonly<UnsyncedRow> | undefined, at: { from: number; count: number }): UnsyncedRow {
  if (row === undefined) return { chunks: [], versions: [] };
  const volume = volumeOf(tx);
  const end = at.from + at.count;
  preloadChunks(tx, row.chunks.slice(at.from, end));
  const keep = row.chunks.map((id, i) => {
    if (i < at.from || i >= end) return true;
    const chunk = tx.get(key.chunk(id));
    return chunk !== undefined && chunk.refs > 0 && !isSynced(chunk, volume);
  });
  return { chunks: row.chunks.filter((_, i) => keep[i]), versions: row.versions.filter((_, i) => keep[i]) };
}
