import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import type { ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";

/** Nodes with a readable copy. */
export function availableOn(chunk: Readonly<ChunkRow>): number[] {
  return chunk.replicas.filter((copy) => copy.state === ReplicaState.AVAILABLE).map((copy) => copy.node);
}

/** Of the volume: copies of each chunk, and how many must stand before a write is acknowledged. */
export interface Copies {
  readonly replicas: number;
  readonly minReplicas: number;
}

/** How many copies of it there shall be. */
export function wantedOf({ wanted = 0, wantedByVolume }: Counts, { replicas }: Pick<Copies, "replicas">): number {
  if (wanted === 0) return replicas;
  return wantedByVolume === true ? Math.max(wanted, replicas) : wanted;
}

/** How many copies of it must stand before it counts as stored. */
export function neededOf(chunk: Counts, volume: Copies): number {
  return Math.min(volume.minReplicas, wantedOf(chunk, volume));
}

/**
 * The chunk when a file names it that wants so many copies (0: as many as the volume); `isAlone`: nothing else does. The
 * highest count is kept.
 */
export function wantedFor<T extends Counts>(chunk: T, replicas: number, { isAlone }: { readonly isAlone: boolean }): T {
  const { wanted = 0, wantedByVolume = false } = chunk;
  if (isAlone && wanted === replicas && !wantedByVolume) return chunk;
  if (isAlone) return { ...chunk, wanted: replicas, wantedByVolume: false };
  if (wanted === replicas || (replicas === 0 && wantedByVolume)) return chunk;
  const byVolume = wantedByVolume || replicas === 0 || wanted === 0;
  return { ...chunk, wanted: Math.max(wanted, replicas), wantedByVolume: byVolume };
}

type Counts = Readonly<Pick<ChunkRow, "wanted" | "wantedByVolume">>;

/** Whether as many copies are fsynced as must stand. */
export function isSynced(chunk: Readonly<ChunkRow>, volume: Copies): boolean {
  const synced = chunk.replicas.filter((copy) => copy.state === ReplicaState.AVAILABLE && copy.synced);
  return synced.length >= neededOf(chunk, volume);
}

/** These chunks (0: none) will be asked for. */
export function preloadChunks(tx: Tx, ids: Iterable<number>): void {
  tx.preload?.([...new Set(ids)].filter((id) => id !== 0).map((id) => key.chunk(id)));
}
