import { fail } from "../../../proto/errno.js";
import type { SetNode } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Join } from "../../../proto/gen/bigfs/v1/node.js";
import type { NodeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { nameProblem, zoneProblem } from "../../common/labels.js";
import { key } from "../keys.js";
import { volumeOf } from "../rules/volume.js";
import type { Tx } from "../tx.js";

/** Throws EINVAL when this data folder cannot be part of the volume. */
export function mustFit(join: Join, volume: string): void {
  if (join.uuid === "" || join.address === "") fail("EINVAL", "a node must say its uuid and its address");
  if (join.volume === "" || join.volume === volume) return;
  fail("EINVAL", `this data folder belongs to volume ${join.volume}, and this is volume ${volume}; use another folder`);
}

/**
 * Throws ENODEV when this folder, new to the volume, is where a node of the volume was: its disk is most probably not
 * mounted, and what were stored there would lie on the disk below.
 */
export function mustNotHide(join: Join, others: Iterable<Readonly<NodeRow>>): void {
  const { address, folder = "", replaces = false } = join;
  if (folder === "" || replaces) return;
  for (const other of others) {
    if (other.retired || other.address !== address || other.folder !== folder) continue;
    fail(
      "ENODEV",
      `${folder} is where node ${other.id} (${other.name}) was, and its identity.json is not there any more`,
    );
  }
}

/** Records a node that joins: `known` is the id that its uuid has already. Returns its row. */
export function joinNode(tx: Tx, join: Join, known: number | undefined): NodeRow {
  const before = known === undefined ? undefined : tx.get(key.node(known));
  if (before?.retired === true) {
    fail("ENXIO", `node ${before.id} (${before.name}) was removed from the volume, and this is its data folder`);
  }
  const { uuid, address, capacity, used, folder } = join;
  const { nameChosen = false, zoneChosen = false } = before ?? {};
  const row: NodeRow = {
    ...{ uuid, address, capacity, used, nameChosen, zoneChosen, folder },
    id: before?.id ?? takeId(tx),
    name: nameChosen ? (before?.name ?? "") : join.name,
    zone: zoneChosen ? (before?.zone ?? "") : join.zone,
    draining: before?.draining ?? false,
    retired: false,
  };
  tx.put(key.node(row.id), row);
  return row;
}

/** What an administrator has chosen for a node that is known. EINVAL for what cannot be a name or a zone. */
export function setNode(tx: Tx, { node, name, zone, draining }: SetNode): NodeRow {
  const before = tx.get(key.node(node)) ?? fail("ENOENT", `there is no node ${node}`);
  if (before.retired) fail("EINVAL", `node ${node} (${before.name}) was removed; it cannot be changed any more`);
  const mustBe = (word: string | undefined, problemOf: (word: string) => string | undefined) => {
    const problem = word === undefined ? undefined : problemOf(word);
    if (problem !== undefined) fail("EINVAL", `'${word}': ${problem}`);
  };
  mustBe(name, nameProblem);
  mustBe(zone, zoneProblem);
  const row = {
    ...before,
    ...(name === undefined ? {} : { name, nameChosen: true }),
    ...(zone === undefined ? {} : { zone, zoneChosen: true }),
    ...(draining === undefined ? {} : { draining }),
  };
  tx.put(key.node(node), row);
  return row;
}

/** The node is no part of the volume any more, for good. */
export function retireNode(tx: Tx, node: number): NodeRow {
  const before = tx.get(key.node(node)) ?? fail("ENOENT", `there is no node ${node}`);
  const row = { ...before, draining: false, retired: true };
  tx.put(key.node(node), row);
  return row;
}

function takeId(tx: Tx): number {
  const volume = volumeOf(tx);
  tx.put(key.volume, { ...volume, nextNode: volume.nextNode + 1 });
  return volume.nextNode;
}
