import { fail } from "../../../proto/errno.js";
import type { SetVolume } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Time, VolumeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { LIMITS } from "../../../proto/limits.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { newInode } from "./inodes.js";
import type { Copies } from "./replicas.js";
import { S_IFDIR } from "./modes.js";

export const ROOT_INO = 1;
export const FORMAT_VERSION = 1;

/** Ids of an incarnation are incarnation * this + n. */
export const IDS_PER_INCARNATION = 2 ** 40;

export interface NewVolume {
  readonly uuid: string;
  readonly chunkSize: number;
  readonly replicas: number;
  readonly minReplicas: number;
  readonly now: Time;
  /** Owner of the root folder. */
  readonly uid: number;
  readonly gid: number;
}

/** Makes the rows of an empty volume. */
export function createVolume(tx: Tx, made: NewVolume): VolumeRow {
  const { uuid, chunkSize, replicas, minReplicas, now } = made;
  if (tx.get(key.volume) !== undefined) throw new Error("the volume exists already");
  if (chunkSize < LIMITS.chunkSizeMin || chunkSize > LIMITS.chunkSizeMax) throw new RangeError("chunk size");
  if (minReplicas < 1 || minReplicas > replicas) throw new RangeError("replica counts");
  const first = IDS_PER_INCARNATION;
  const volume: VolumeRow = {
    uuid,
    formatVersion: FORMAT_VERSION,
    chunkSize,
    replicas,
    minReplicas,
    incarnation: 1,
    nextIno: first,
    nextChunk: first,
    nextSession: first,
    nextNode: 1,
    nodeMapVersion: 1,
    servedSec: 0,
    created: now,
    cleaningOff: false,
  };
  const root = newInode({ ino: ROOT_INO, mode: S_IFDIR | 0o755, uid: made.uid, gid: made.gid, now });
  tx.put(key.volume, volume);
  tx.put(key.inode(ROOT_INO), { ...root, parent: ROOT_INO });
  tx.put(key.usage, { inodes: 1, bytes: 0 });
  return volume;
}

/** What an administrator may change of a volume. */
export type Settings = Copies & Pick<VolumeRow, "noRebalance" | "cleaningOff">;

/** What is not given stays. EINVAL for what does not go together. */
export function setVolume(tx: Tx, change: SetVolume): Settings {
  const volume = volumeOf(tx);
  const { replicas = volume.replicas, minReplicas = volume.minReplicas } = change;
  const cleaningOff = change.cleaning === undefined ? volume.cleaningOff : !change.cleaning;
  if (replicas > LIMITS.replicasMax) fail("EINVAL", `${replicas} copies: at most ${LIMITS.replicasMax}`);
  if (minReplicas < 1 || minReplicas > replicas)
    fail("EINVAL", `a write cannot wait for ${minReplicas} of ${replicas} copies: min-replicas is at most replicas`);
  const noRebalance = change.rebalance === undefined ? volume.noRebalance : !change.rebalance;
  tx.put(key.volume, { ...volume, replicas, minReplicas, noRebalance, cleaningOff });
  return { replicas, minReplicas, noRebalance, cleaningOff };
}

/** The volume's row, which always exists. */
export function volumeOf(tx: Tx): Readonly<VolumeRow> {
  const volume = tx.get(key.volume);
  if (volume === undefined) throw new Error("there is no volume");
  return volume;
}
