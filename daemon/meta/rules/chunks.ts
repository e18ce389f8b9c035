/**
 * What metadata knows of chunks and their copies. Every function is a rule: synchronous, over rows alone, to be run
 * through the executor as session 0. Nodes and chunks are plain ids; ages are seconds of VolumeRow.served_sec.
 *
 *   registerChunk(tx, stored)              M copies stand: the row appears
 *   confirmChunk(tx, node, stored)         "I hold this": PENDING -> AVAILABLE
 *   syncedChunk(tx, node, chunk)           that copy is fsynced
 *   assignReplica(tx, chunk, node)         a PENDING copy for repair
 *   dropPending(tx, chunk, assignedBefore) PENDING copies older than that are dropped
 *   lostReplica(tx, node, chunk)           that copy is gone or bad
 *   dropCopies(tx, chunk, nodes)           these copies are too many: DELETING is recorded
 *   keepCopies(tx, chunk, nodes)           those are wanted again, and were there when asked for
 *   abandonChunk(tx, chunk)                never committed and its session has ended: garbage
 *   beginDelete(tx, chunk, garbageBefore)  garbage, second phase: DELETING is recorded
 *   removedChunk(tx, node, chunk)          that node has removed it
 *
 * Invariants: ChunkRow.garbage if and only if a GarbageRow exists, and then refs is 0. A GarbageRow that says `deleting`
 * names exactly the nodes of the replicas that are left, all DELETING; without replicas neither row stays. A copy that is
 * DELETING becomes AVAILABLE again only by keepCopies; that its node has it still does not make it so. Garbage of which
 * nothing was known before its copies were (`isFound`) is not deleted before all slots were asked (found.ts): its row may
 * have been lost.
 */
import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import type { ChunkRow, GarbageRow, Replica } from "../../../proto/gen/bigfs/v1/rows.js";
import type { StoredChunk } from "../../../proto/gen/bigfs/v1/node.js";
import { fail } from "../../../proto/errno.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { rangeOf } from "./ranges.js";
import { pruneUnsynced } from "./unsynced.js";
import { volumeOf } from "./volume.js";

export { availableOn, isSynced, neededOf, wantedOf } from "./replicas.js";

/** What the rows say after a node has spoken of a chunk. */
export type ChunkFate =
  /** Recorded as said. */
  | "recorded"
  /** Recorded, but nothing may use it: its session has ended. It will be deleted in two phases. */
  | "garbage"
  /** Its deletion is recorded: tell that node to remove it. */
  | "deleting"
  /** There is no evidence about it at all: to be quarantined, never deleted. */
  | "unknown";

/** By what a chunk is garbage of which nothing was known when its nodes told of it: no file has that inode. */
const FOUND = { ino: 0, version: 1 } as const;

/** Whether slots may name it all the same. */
export function isFound({ ino, version }: Readonly<GarbageRow>): boolean {
  return ino === FOUND.ino && version === FOUND.version;
}

/**
 * Records a chunk that its nodes have stored: AVAILABLE on `nodes`, synced on `synced`, PENDING on `pending`. Saying it
 * again changes nothing but what is new. EIO when the id is known with other bytes.
 */
export function registerChunk(tx: Tx, stored: StoredChunk): ChunkFate {
  const known = tx.get(key.chunk(stored.chunk));
  if (known !== undefined) {
    mustBeSame(known, stored);
    return addCopies(tx, known, stored);
  }
  const range = tx.get(key.range(rangeOf(stored.chunk)));
  if (range === undefined || stored.chunk >= range.first + range.count) return "unknown";
  const session = tx.get(key.session(range.session));
  const chunk: ChunkRow = {
    id: stored.chunk,
    len: stored.len,
    crc: stored.crc,
    refs: 0,
    session: range.session,
    replicas: mergeCopies(tx, [], stored),
    garbage: false,
    wanted: stored.wanted,
  };
  tx.put(key.chunk(chunk.id), chunk);
  if (session !== undefined && !session.ended) return "recorded";
  makeGarbage(tx, chunk, FOUND);
  return "garbage";
}

/** Records that `node` itself holds the chunk. EIO when it holds other bytes under that id. */
export function confirmChunk(
  tx: Tx,
  node: number,
  stored: Pick<StoredChunk, "chunk" | "len" | "crc" | "synced">,
): ChunkFate {
  const known = tx.get(key.chunk(stored.chunk));
  if (known === undefined) return "unknown";
  mustBeSame(known, stored);
  const synced = stored.synced.includes(node) ? [node] : [];
  return addCopies(tx, known, { nodes: [node], synced, pending: [] });
}

/** Records that the copy on `node` is fsynced. False: that node has no readable copy of it as far as is known. */
export function syncedChunk(tx: Tx, node: number, chunk: number): boolean {
  const row = tx.get(key.chunk(chunk));
  const copy = row?.replicas.find((replica) => replica.node === node);
  if (row === undefined || copy?.state !== ReplicaState.AVAILABLE) return false;
  if (!copy.synced) putReplicas(tx, row, withReplica(row.replicas, { ...copy, synced: true }));
  return true;
}

/**
 * Records that `node` shall get a copy. undefined: it must not (the chunk is unknown or garbage, or that node has or
 * awaits a copy already).
 */
export function assignReplica(tx: Tx, chunk: number, node: number): Readonly<ChunkRow> | undefined {
  const row = tx.get(key.chunk(chunk));
  if (row === undefined || row.garbage || row.replicas.some((replica) => replica.node === node)) return undefined;
  const pending = { node, state: ReplicaState.PENDING, synced: false, since: volumeOf(tx).servedSec };
  return putReplicas(tx, row, [...row.replicas, pending]);
}

/** Drops the PENDING copies that were assigned at or before `assignedBefore`; the nodes that lost theirs. */
export function dropPending(tx: Tx, chunk: number, assignedBefore: number): number[] {
  const row = tx.get(key.chunk(chunk));
  if (row === undefined) return [];
  const late = row.replicas.filter((copy) => copy.state === ReplicaState.PENDING && copy.since <= assignedBefore);
  if (late.length === 0) return [];
  putReplicas(
    tx,
    row,
    row.replicas.filter((copy) => !late.includes(copy)),
  );
  return late.map((copy) => copy.node);
}

/**
 * Records that the copy on `node` is gone or bad. Returns the row as it is then (without it); undefined when there was
 * no such copy. The row stays when that was the last copy: reads of it are EIO, and it is listed.
 */
export function lostReplica(tx: Tx, node: number, chunk: number): Readonly<ChunkRow> | undefined {
  const row = tx.get(key.chunk(chunk));
  if (row === undefined || !row.replicas.some((copy) => copy.node === node)) return undefined;
  const rest = row.replicas.filter((copy) => copy.node !== node);
  const garbage = row.garbage ? tx.get(key.garbage(chunk)) : undefined;
  if (garbage?.deleting !== true) return putReplicas(tx, row, rest);
  removedChunk(tx, node, chunk);
  return { ...row, replicas: rest };
}

/** Records that the copies on these nodes are to be removed while others stay. */
export function dropCopies(tx: Tx, chunk: number, nodes: readonly number[]): void {
  turnCopies(tx, chunk, nodes, { from: ReplicaState.AVAILABLE, into: ReplicaState.DELETING });
}

/** Records that the copies on these nodes, which were to be removed, are there, fsynced, and stay. */
export function keepCopies(tx: Tx, chunk: number, nodes: readonly number[]): void {
  turnCopies(tx, chunk, nodes, { from: ReplicaState.DELETING, into: ReplicaState.AVAILABLE });
}

function turnCopies(
  tx: Tx,
  chunk: number,
  nodes: readonly number[],
  { from, into }: { readonly from: ReplicaState; readonly into: ReplicaState },
): void {
  const row = tx.get(key.chunk(chunk));
  if (row === undefined || row.garbage) return;
  const turns = (copy: Replica) => copy.state === from && nodes.includes(copy.node);
  if (!row.replicas.some(turns)) return;
  const synced = into === ReplicaState.AVAILABLE;
  putReplicas(
    tx,
    row,
    row.replicas.map((copy) => (turns(copy) ? { ...copy, state: into, synced } : copy)),
  );
}

/**
 * A chunk that nothing names and whose session has ended becomes garbage (its age starts now). False: it is in use, is
 * garbage already, or its session lives.
 */
export function abandonChunk(tx: Tx, chunk: number): boolean {
  const row = tx.get(key.chunk(chunk));
  if (row === undefined || row.refs > 0 || row.garbage) return false;
  const session = tx.get(key.session(row.session));
  if (session !== undefined && !session.ended) return false;
  makeGarbage(tx, row, { ino: 0, version: 0 });
  return true;
}

/**
 * Second phase of deletion, for garbage that became so at or before `garbageBefore`: its copies are DELETING from now
 * on. Returns the nodes to tell once this is durable (none: nothing is left to remove, the rows are gone). undefined:
 * not yet, because it is too young, what replaced it is not synced, or the slots have to be asked.
 */
export function beginDelete(tx: Tx, chunk: number, garbageBefore: number): readonly number[] | undefined {
  const garbage = tx.get(key.garbage(chunk));
  if (garbage === undefined) return undefined;
  if (garbage.deleting) return garbage.nodes;
  if (isFound(garbage)) return undefined;
  if (garbage.since > garbageBefore || !replacedSafely(tx, garbage)) return undefined;
  const row = tx.get(key.chunk(chunk));
  const nodes = row?.replicas.map((copy) => copy.node) ?? [];
  if (row === undefined || nodes.length === 0) {
    tx.del(key.chunk(chunk));
    tx.del(key.garbage(chunk));
    return [];
  }
  tx.put(key.garbage(chunk), { ...garbage, deleting: true, nodes });
  putReplicas(
    tx,
    row,
    row.replicas.map((copy) => ({ ...copy, state: ReplicaState.DELETING })),
  );
  return nodes;
}

/**
 * Records that `node` holds the chunk no more: the rows go with the last copy of a chunk whose deletion is recorded; of
 * any other chunk the copy counts as lost.
 */
export function removedChunk(tx: Tx, node: number, chunk: number): void {
  const row = tx.get(key.chunk(chunk));
  const garbage = row?.garbage === true ? tx.get(key.garbage(chunk)) : undefined;
  if (row === undefined || garbage?.deleting !== true) {
    lostReplica(tx, node, chunk);
    return;
  }
  const nodes = garbage.nodes.filter((id) => id !== node);
  if (nodes.length === 0) {
    tx.del(key.chunk(chunk));
    tx.del(key.garbage(chunk));
    return;
  }
  tx.put(key.garbage(chunk), { ...garbage, nodes });
  putReplicas(
    tx,
    row,
    row.replicas.filter((copy) => copy.node !== node),
  );
}

/** Records that nothing names the chunk any more, through a change of that file. */
export function makeGarbage(tx: Tx, chunk: Readonly<ChunkRow>, by: { ino: number; version: number }): void {
  const since = volumeOf(tx).servedSec;
  tx.put(key.chunk(chunk.id), { ...chunk, garbage: true });
  tx.put(key.garbage(chunk.id), { chunk: chunk.id, since, deleting: false, nodes: [], ...by });
}

function replacedSafely(tx: Tx, garbage: Readonly<GarbageRow>): boolean {
  if (garbage.ino === 0) return true;
  const oldest = pruneUnsynced(tx, garbage.ino);
  return oldest === undefined || oldest > garbage.version;
}

function mustBeSame(row: Readonly<ChunkRow>, stored: { len: number; crc: number }): void {
  if (row.len === stored.len && row.crc === stored.crc) return;
  fail("EIO", `chunk ${row.id} is recorded with length ${row.len} and crc ${row.crc}, and stored with others`);
}

type Copies = Pick<StoredChunk, "nodes" | "synced" | "pending">;

function addCopies(tx: Tx, row: Readonly<ChunkRow>, copies: Copies): ChunkFate {
  const garbage = row.garbage ? tx.get(key.garbage(row.id)) : undefined;
  if (garbage?.deleting !== true) {
    const merged = mergeCopies(tx, row.replicas, copies);
    if (!sameReplicas(merged, row.replicas)) putReplicas(tx, row, merged);
    return row.garbage ? "garbage" : "recorded";
  }
  const since = volumeOf(tx).servedSec;
  const fresh = copies.nodes.filter((node) => !garbage.nodes.includes(node));
  if (fresh.length > 0) {
    const doomed = fresh.map((node) => ({ node, state: ReplicaState.DELETING, synced: false, since }));
    tx.put(key.garbage(row.id), { ...garbage, nodes: [...garbage.nodes, ...fresh] });
    putReplicas(tx, row, [...row.replicas, ...doomed]);
  }
  return "deleting";
}

function mergeCopies(tx: Tx, replicas: readonly Replica[], copies: Copies): Replica[] {
  const since = volumeOf(tx).servedSec;
  let merged = [...replicas];
  for (const node of copies.nodes) {
    const before = merged.find((copy) => copy.node === node);
    if (before?.state === ReplicaState.DELETING) continue;
    const synced = copies.synced.includes(node) || before?.synced === true;
    merged = withReplica(merged, { node, state: ReplicaState.AVAILABLE, synced, since: before?.since ?? since });
  }
  for (const node of copies.pending) {
    if (merged.some((copy) => copy.node === node)) continue;
    merged.push({ node, state: ReplicaState.PENDING, synced: false, since });
  }
  return merged;
}

function withReplica(replicas: readonly Replica[], changed: Replica): Replica[] {
  const at = replicas.findIndex((copy) => copy.node === changed.node);
  return at < 0 ? [...replicas, changed] : replicas.with(at, changed);
}

function sameReplicas(a: readonly Replica[], b: readonly Replica[]): boolean {
  const same = (copy: Replica, i: number): boolean => {
    const other = b[i];
    return copy.node === other?.node && copy.state === other.state && copy.synced === other.synced;
  };
  return a.length === b.length && a.every(same);
}

function putReplicas(tx: Tx, row: Readonly<ChunkRow>, replicas: Replica[]): Readonly<ChunkRow> {
  const next = { ...row, replicas };
  tx.put(key.chunk(row.id), next);
  return next;
}
