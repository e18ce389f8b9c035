import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";

/** A chunk that a node says it has. */
export interface Held {
  readonly len: number;
  readonly crc: number;
}

/** What does not agree between a node and the metadata, about one chunk. */
export interface Disagreement {
  readonly chunk: number;
  /**
   * absent: the node does not have the copy that is listed there. differs: it has other bytes under that id than the
   * chunk's. unlisted: it has a copy that is not listed. unknown: it has a chunk of which there is no row.
   */
  readonly kind: "absent" | "differs" | "unlisted" | "unknown";
  /** undefined: absent. */
  readonly held: Held | undefined;
}

/**
 * Compares what metadata says of some chunks, all of a range of ids, with what the node has of them. Copies that are
 * being made or removed may be there or not.
 */
export function compareCopies(
  node: number,
  rows: ReadonlyMap<number, Readonly<ChunkRow>>,
  held: ReadonlyMap<number, Held>,
): Disagreement[] {
  const found: Disagreement[] = [];
  for (const [chunk, row] of rows) {
    const copy = row.replicas.find((replica) => replica.node === node);
    if (copy?.state === ReplicaState.AVAILABLE && !held.has(chunk))
      found.push({ chunk, kind: "absent", held: undefined });
  }
  for (const [chunk, one] of held) {
    const row = rows.get(chunk);
    if (row === undefined) found.push({ chunk, kind: "unknown", held: one });
    else if (row.len !== one.len || row.crc !== one.crc) found.push({ chunk, kind: "differs", held: one });
    else if (!row.replicas.some((replica) => replica.node === node)) found.push({ chunk, kind: "unlisted", held: one });
  }
  return found;
}

/** Those that every look has found. */
export function persistent(looks: readonly (readonly Disagreement[])[]): Disagreement[] {
  const [last = [], ...others] = [...looks].reverse();
  const seen = others.map((look) => new Set(look.map(({ chunk, kind }) => `${chunk} ${kind}`)));
  return last.filter(({ chunk, kind }) => seen.every((look) => look.has(`${chunk} ${kind}`)));
}
