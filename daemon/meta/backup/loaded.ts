/**
 * What becomes of the rows of a backup in the volume that is made of it.
 *
 * Between the backup and now the volume went on: ids were given and chunks stored of which the rows know nothing.
 * - The incarnation is raised, and every id that is given from now on is of the new one.
 * - Sessions count as ended. Their clients begin new ones.
 * - A chunk that no slice named then may have been committed since. Its row goes, so that nobody has evidence against
 *   its copies: they are quarantined, not removed.
 * - Cleaning stays off until an administrator has looked.
 */
import { fail } from "../../../proto/errno.js";
import type { VolumeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { key, kindOf, type Key } from "../keys.js";
import type { StoredRow } from "../metastore.js";
import { decodeRow, encodeRow } from "../row-codec.js";
import { IDS_PER_INCARNATION } from "../rules/volume.js";

/** Ids are below 2^53. */
const INCARNATION_MAX = 2 ** 53 / IDS_PER_INCARNATION - 1;
/** Nodes are numbered on; so many may have joined since the backup. */
const NODES_PER_INCARNATION = 1000;

/** The volume of the next incarnation. EINVAL: that incarnation cannot follow. */
export function nextVolume(volume: VolumeRow, incarnation = volume.incarnation + 1): VolumeRow {
  if (incarnation <= volume.incarnation)
    fail("EINVAL", `incarnation ${incarnation}: the backup is of incarnation ${volume.incarnation}, give a higher one`);
  if (incarnation > INCARNATION_MAX) fail("EINVAL", `incarnation ${incarnation}: at most ${INCARNATION_MAX}`);
  const first = incarnation * IDS_PER_INCARNATION;
  return {
    ...volume,
    incarnation,
    nextIno: first,
    nextChunk: first,
    nextSession: first,
    nextNode: Math.max(volume.nextNode, incarnation * NODES_PER_INCARNATION),
    // Mounts may know later maps than this one.
    nodeMapVersion: volume.nodeMapVersion + IDS_PER_INCARNATION,
    cleaningOff: true,
  };
}

/** The row in the new volume; undefined: it has none. */
export function loadedRow(row: StoredRow, volume: VolumeRow): StoredRow | undefined {
  const rowKey = row.key as Key;
  switch (kindOf(rowKey)) {
    case "V":
      return { key: row.key, value: encodeRow(key.volume, volume) };
    case "P": {
      const session = decodeRow(rowKey as Key<"P">, row.value);
      if (session.ended) return row;
      const ended = { ...session, ended: true, endedServedSec: volume.servedSec };
      return { key: row.key, value: encodeRow(rowKey as Key<"P">, ended) };
    }
    case "K": {
      const { refs, garbage } = decodeRow(rowKey as Key<"K">, row.value);
      return refs === 0 && !garbage ? undefined : row;
    }
    default:
      return row;
  }
}
