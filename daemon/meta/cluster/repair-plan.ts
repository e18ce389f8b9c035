import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Target } from "../../../proto/gen/bigfs/v1/store.js";
import { place } from "../../common/placement.js";
import { key } from "../keys.js";
import { assignReplica, lostReplica } from "../rules/chunks.js";
import type { Tx } from "../tx.js";
import type { NodesView } from "./nodes-view.js";

export type Plan =
  /** There is nothing to do, or what is needed was assigned already. */
  | { readonly kind: "enough" }
  /** No copy can be read, or no node can take one. */
  | { readonly kind: "stuck" }
  /** These nodes shall get a copy. `missing`: how many more there should be. */
  | { readonly kind: "assigned"; readonly targets: readonly number[]; readonly missing: number };

/**
 * Assigns the copies that the chunk lacks, by placement; copies on nodes that are drained do not count, and assigned ones
 * on such nodes, or on nodes that are not live, are dropped first, which is recorded with it.
 */
export function planRepair(
  tx: Tx,
  chunk: number,
  nodes: NodesView,
  opts: { readonly wanted: (row: Readonly<ChunkRow>) => number; readonly exclude: ReadonlySet<number> },
): Plan {
  const isStaying = (node: number) => nodes.isLive(node) && !nodes.isDraining(node);
  for (const copy of tx.get(key.chunk(chunk))?.replicas ?? []) {
    if (copy.state === ReplicaState.PENDING && !isStaying(copy.node)) lostReplica(tx, copy.node, chunk);
  }
  const row = tx.get(key.chunk(chunk));
  if (row === undefined || row.garbage) return { kind: "enough" };
  const staying = row.replicas.filter((copy) => copy.state !== ReplicaState.DELETING && isStaying(copy.node));
  const lacking = opts.wanted(row) - staying.length;
  if (lacking <= 0) return { kind: "enough" };
  if (sourcesOf(row, nodes).length === 0) return { kind: "stuck" };
  // What will not stay takes no zone from others.
  const hold = new Set(staying.map((copy) => copy.node));
  const exclude = new Set([...opts.exclude, ...row.replicas.map((copy) => copy.node)]);
  const targets = place(chunk, nodes.map(), lacking, { hold, exclude });
  if (targets.length === 0) return { kind: "stuck" };
  for (const node of targets) assignReplica(tx, chunk, node);
  return { kind: "assigned", targets, missing: lacking - targets.length };
}

/** Drops the copy if it is still PENDING: the node did not confirm it. */
export function dropAssigned(tx: Tx, chunk: number, node: number): void {
  const copy = tx.get(key.chunk(chunk))?.replicas.find((replica) => replica.node === node);
  if (copy?.state === ReplicaState.PENDING) lostReplica(tx, node, chunk);
}

/** Where a copy can be read now. */
export function sourcesOf(row: Readonly<ChunkRow>, nodes: NodesView): Target[] {
  return row.replicas.flatMap((copy) => {
    const address = copy.state === ReplicaState.AVAILABLE ? nodes.addressOf(copy.node) : undefined;
    return address === undefined ? [] : [{ node: copy.node, address }];
  });
}
