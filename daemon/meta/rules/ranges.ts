import type { RangeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { volumeOf } from "./volume.js";

/**
 * Chunk ids are given to sessions in ranges of this many, aligned to it, so that the range of a chunk is found without a
 * search. (2**40, the span of an incarnation, is a multiple of it.)
 */
export const CHUNKS_PER_RANGE = 1024;

/** First id of the range that this chunk id lies in. */
export function rangeOf(chunk: number): number {
  return chunk - (chunk % CHUNKS_PER_RANGE);
}

/** Takes the next range of chunk ids for a session. It may be handed out when this change is durable. */
export function takeChunkRange(tx: Tx, session: number): RangeRow {
  const volume = volumeOf(tx);
  const first = rangeOf(volume.nextChunk + CHUNKS_PER_RANGE - 1);
  const range = { first, count: CHUNKS_PER_RANGE, session, incarnation: volume.incarnation };
  tx.put(key.volume, { ...volume, nextChunk: first + CHUNKS_PER_RANGE });
  tx.put(key.range(first), range);
  return range;
}
