/**
 * Which copies move, so that each node has its share of what is stored: as much of it as it has of the capacity.
 *
 * Copies move as long as some node is further than TOLERANCE from its share: off nodes that have more than theirs, onto
 * nodes that have less, of which one at least is that far. A chunk takes part when placement agrees: had it one copy more,
 * on the node that is to get one, the copy that is too many would be the one on the fuller node. So what is made here is
 * what surplus.ts leaves, and copies that stand in different zones go on doing so.
 *
 * Copies that share a zone although there is another one (it was away when they were made) move apart, whatever the loads.
 */
import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { place } from "../../common/placement.js";
import { key } from "../keys.js";
import { assignReplica } from "../rules/chunks.js";
import type { Tx } from "../tx.js";
import type { NodesView } from "./nodes-view.js";

/** A node that gets new copies. */
export interface Load {
  readonly id: number;
  readonly capacity: number;
  /** Bytes, with those that are on their way to it and without those that are leaving. */
  readonly used: number;
}

export interface Imbalance {
  /** Nodes with more than their share, and with less; none when all are near enough. */
  readonly above: ReadonlySet<number>;
  readonly below: ReadonlySet<number>;
  /** Those of them that are not near enough. */
  readonly far: ReadonlySet<number>;
}

/** Of a node's share. */
const TOLERANCE = 0.1;

/** Who has too much and who too little. `slack`: bytes that never matter. */
export function imbalanceOf(loads: readonly Load[], slack: number): Imbalance {
  const capacity = loads.reduce((sum, node) => sum + node.capacity, 0);
  const used = loads.reduce((sum, node) => sum + node.used, 0);
  const rest = loads.map((node) => {
    const share = capacity === 0 ? 0 : (used * node.capacity) / capacity;
    return { id: node.id, excess: node.used - share, near: Math.max(TOLERANCE * share, slack) };
  });
  const far = new Set(rest.filter(({ excess, near }) => Math.abs(excess) > near).map(({ id }) => id));
  const those = (is: (excess: number) => boolean) =>
    new Set(far.size === 0 ? [] : rest.filter(({ excess }) => is(excess)).map(({ id }) => id));
  return { above: those((excess) => excess > 0), below: those((excess) => excess < 0), far };
}

export interface Move {
  readonly from: number;
  readonly into: number;
}

/** The move that brings loads nearer to each other. undefined: it stays, or something is to be done with it first. */
export function moveOf(
  row: Readonly<ChunkRow>,
  nodes: NodesView,
  { above, below, far }: Imbalance,
  wanted: number,
): Move | undefined {
  const holders = settledOn(row, nodes, wanted);
  const givers = holders.filter((node) => above.has(node));
  if (givers.length === 0) return undefined;
  const { version, nodes: all } = nodes.map();
  const mayTake = (node: number) => below.has(node) && (far.has(node) || givers.some((giver) => far.has(giver)));
  const candidates = all.filter(({ id }) => mayTake(id) && !holders.includes(id));
  // The best of them alone is tried: it is the one that most chunks prefer, too.
  const [best] = place(row.id, { version, nodes: candidates }, 1);
  const move = best === undefined ? undefined : replacing(row, nodes, { holders, into: best });
  if (move === undefined || !above.has(move.from)) return undefined;
  return far.has(move.from) || far.has(move.into) ? move : undefined;
}

/** The move into a zone of its own of a copy that shares one. undefined: none does, or there is no other zone. */
export function apartOf(row: Readonly<ChunkRow>, nodes: NodesView, wanted: number): Move | undefined {
  const holders = settledOn(row, nodes, wanted);
  const { nodes: all } = nodes.map();
  const used = new Set(all.filter(({ id }) => holders.includes(id)).map(({ zone }) => zone));
  if (used.size === holders.length || all.every(({ zone, state }) => state !== "UP" || used.has(zone)))
    return undefined;
  const [best] = place(row.id, nodes.map(), 1, { hold: new Set(holders) });
  return best === undefined ? undefined : replacing(row, nodes, { holders, into: best });
}

/** The nodes that have it, when it stands as it shall: so many copies, all there and on disk, none on its way. */
function settledOn(row: Readonly<ChunkRow>, nodes: NodesView, wanted: number): number[] {
  const isSettled = ({ node, state, synced }: ChunkRow["replicas"][number]) =>
    state === ReplicaState.AVAILABLE && synced && nodes.addressOf(node) !== undefined && !nodes.isDraining(node);
  if (row.garbage || row.refs === 0 || row.replicas.length !== wanted || !row.replicas.every(isSettled)) return [];
  return row.replicas.map(({ node }) => node);
}

/** Which copy would go once there is one more. undefined: that one itself. */
function replacing(
  row: Readonly<ChunkRow>,
  nodes: NodesView,
  { holders, into }: { readonly holders: readonly number[]; readonly into: number },
): Move | undefined {
  const { version, nodes: all } = nodes.map();
  const among = all.filter(({ id }) => id === into || holders.includes(id));
  const stay = place(row.id, { version, nodes: among }, holders.length);
  const from = holders.find((node) => !stay.includes(node));
  return from === undefined ? undefined : { from, into };
}

/** Records that the copy is to be made. undefined: the chunk has changed. */
export function beginMove(
  tx: Tx,
  chunk: number,
  plan: (row: Readonly<ChunkRow>) => Move | undefined,
): Move | undefined {
  const row = tx.get(key.chunk(chunk));
  const move = row && plan(row);
  if (move === undefined) return undefined;
  return assignReplica(tx, chunk, move.into) === undefined ? undefined : move;
}
