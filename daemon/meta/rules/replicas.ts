import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import type { ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";

/** Nodes with a readable copy. */
export function availableOn(chunk: Readonly<ChunkRow>): number[] {
  return chunk.replicas.filter((copy) => copy.state === ReplicaState.AVAILABLE).map((copy) => copy.node);
}

/** How many copies of it there shall be. */
export function wantedOf(_chunk: Readonly<ChunkRow>, volume: { readonly replicas: number }): number {
  return volume.replicas;
}

/** Whether M copies are fsynced. */
export function isSynced(chunk: Readonly<ChunkRow>, minReplicas: number): boolean {
  const synced = chunk.replicas.filter((copy) => copy.state === ReplicaState.AVAILABLE && copy.synced);
  return synced.length >= minReplicas;
}

/** These chunks (0: none) will be asked for. */
export function preloadChunks(tx: Tx, ids: Iterable<number>): void {
  tx.preload?.([...new Set(ids)].filter((id) => id !== 0).map((id) => key.chunk(id)));
}
