/**
 * What metadata makes of a node's word "I hold this chunk". The rows of chunks are the complete record of what any file
 * may name; so of a chunk without a row this is known: nothing names it, and nothing ever will once the session that its
 * id was given to has ended; unless the row was lost, for which slots are searched before such a chunk is removed
 * (found-chunks.ts). Without even the record of that session there is no evidence, and nothing is deleted.
 */
import { fail } from "../../../proto/errno.js";
import type { StoredChunk } from "../../../proto/gen/bigfs/v1/node.js";
import { key } from "../keys.js";
import { confirmChunk, lostReplica, registerChunk, type ChunkFate } from "../rules/chunks.js";
import { rangeOf } from "../rules/ranges.js";
import { volumeOf } from "../rules/volume.js";
import type { Tx } from "../tx.js";

export type Fate =
  | ChunkFate
  /** Not registered, and the session that may still do it lives: to be left alone. */
  | "early"
  /** Recorded with other bytes: this copy is bad. */
  | "different";

type Held = Pick<StoredChunk, "chunk" | "len" | "crc" | "synced">;

/** Records that `node` itself holds the chunk, as far as there is evidence. */
export function holds(tx: Tx, node: number, held: Held): Fate {
  const row = tx.get(key.chunk(held.chunk));
  if (row !== undefined) {
    if (isSame(row, held)) return confirmChunk(tx, node, held);
    lostReplica(tx, node, held.chunk);
    return "different";
  }
  return holdsUnregistered(tx, node, held);
}

/**
 * The same for a word that may be old: of a chunk that has a row by now nothing is recorded, unless that is garbage. Then
 * the node is asked to remove its copy as well, and may say that it has none.
 */
export function heldUnregistered(tx: Tx, node: number, held: Held): Fate {
  const row = tx.get(key.chunk(held.chunk));
  if (row === undefined) return holdsUnregistered(tx, node, held);
  return row.garbage && isSame(row, held) ? confirmChunk(tx, node, held) : "recorded";
}

function holdsUnregistered(tx: Tx, node: number, held: Held): Fate {
  if (!isOfThisIncarnation(tx, held.chunk)) return "unknown";
  if (isSessionLive(tx, held.chunk)) return "early";
  return registerChunk(tx, { ...held, nodes: [node], synced: held.synced.filter((id) => id === node), pending: [] });
}

/** Records the word of a primary for itself and for the nodes that it names. */
export function registers(tx: Tx, primary: number, stored: StoredChunk, isNode: (node: number) => boolean): Fate {
  if (!stored.nodes.includes(primary)) fail("EINVAL", `node ${primary} registers chunk ${stored.chunk} of others`);
  if (![...stored.nodes, ...stored.pending].every(isNode)) fail("EINVAL", `chunk ${stored.chunk} names unknown nodes`);
  const row = tx.get(key.chunk(stored.chunk));
  if (row === undefined && !isOfThisIncarnation(tx, stored.chunk)) return "unknown";
  if (row !== undefined && !isSame(row, stored)) return "different";
  return registerChunk(tx, stored);
}

/** The rows that the above read, to be loaded together. */
export function rowsRead(chunks: readonly { readonly chunk: number }[]) {
  return chunks.flatMap(({ chunk }) => [key.chunk(chunk), key.range(rangeOf(chunk))]);
}

/** Whether the session that its id was given to lives, or has ended and its chunks are not dealt with yet. */
export function isOfKnownSession(tx: Tx, chunk: number): boolean {
  const range = tx.get(key.range(rangeOf(chunk)));
  return range !== undefined && tx.get(key.session(range.session)) !== undefined;
}

function isOfThisIncarnation(tx: Tx, chunk: number): boolean {
  const range = tx.get(key.range(rangeOf(chunk)));
  return range?.incarnation === volumeOf(tx).incarnation && chunk < range.first + range.count;
}

function isSessionLive(tx: Tx, chunk: number): boolean {
  const range = tx.get(key.range(rangeOf(chunk)));
  const session = range && tx.get(key.session(range.session));
  return session !== undefined && !session.ended;
}

function isSame(row: { len: number; crc: number }, stored: { len: number; crc: number }): boolean {
  return row.len === stored.len && row.crc === stored.crc;
}
