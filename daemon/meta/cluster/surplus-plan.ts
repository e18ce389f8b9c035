import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { place } from "../../common/placement.js";
import { key } from "../keys.js";
import { dropCopies, keepCopies } from "../rules/chunks.js";
import type { Tx } from "../tx.js";
import type { NodesView } from "./nodes-view.js";

export type Surplus =
  | { readonly kind: "none" }
  /** The copies on the nodes `go` are too many; those that are asked for stay. */
  | { readonly kind: "too many"; readonly ask: readonly number[]; readonly go: readonly number[] }
  /** These were to be removed, and too few others are left. */
  | { readonly kind: "needed"; readonly ask: readonly number[] };

/**
 * Which copies are too many. Those stay that placement would choose among the nodes that have one: in different zones,
 * and none on a node that is DRAINING; when there are not as many as are wanted, all do. Only of nodes that can be told.
 */
export function surplusOf(row: Readonly<ChunkRow>, nodes: NodesView, wanted: number): Surplus {
  if (row.garbage) return { kind: "none" };
  const on = (state: ReplicaState, isThere: (node: number) => boolean): number[] =>
    row.replicas.filter((copy) => copy.state === state && isThere(copy.node)).map((copy) => copy.node);
  const hasStream = (node: number) => nodes.addressOf(node) !== undefined;
  const there = on(ReplicaState.AVAILABLE, hasStream);
  const leaving = on(ReplicaState.DELETING, hasStream);
  if (there.length <= wanted && leaving.length === 0 && !there.some((node) => nodes.isDraining(node)))
    return { kind: "none" };
  const { version, nodes: all } = nodes.map();
  const stay = place(row.id, { version, nodes: all.filter(({ id }) => there.includes(id)) }, wanted);
  if (stay.length === wanted) {
    const go = [...there.filter((node) => !stay.includes(node)), ...leaving];
    return go.length === 0 ? { kind: "none" } : { kind: "too many", ask: stay, go };
  }
  const isNeeded = leaving.length > 0 && on(ReplicaState.AVAILABLE, nodes.isLive).length < wanted;
  return isNeeded ? { kind: "needed", ask: leaving } : { kind: "none" };
}

/**
 * Records what is to become of the copies; nothing when those that it rests on are not all among the `verified`. Returns
 * the nodes that shall remove theirs once this is durable.
 */
export function settleSurplus(
  tx: Tx,
  chunk: number,
  nodes: NodesView,
  opts: { readonly wanted: (row: Readonly<ChunkRow>) => number; readonly verified: ReadonlySet<number> },
): readonly number[] {
  const row = tx.get(key.chunk(chunk));
  if (row === undefined) return [];
  const surplus = surplusOf(row, nodes, opts.wanted(row));
  if (surplus.kind === "none" || !surplus.ask.every((node) => opts.verified.has(node))) return [];
  if (surplus.kind === "needed") {
    keepCopies(tx, chunk, surplus.ask);
    return [];
  }
  const synced = new Set(row.replicas.flatMap((copy) => (copy.synced ? copy.node : [])));
  if (!surplus.ask.every((node) => synced.has(node))) return [];
  dropCopies(tx, chunk, surplus.go);
  return surplus.go;
}
