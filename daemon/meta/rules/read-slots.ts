import type { ChunkPlace, GetSlots, SlotInfo, SlotsReply } from "../../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../../proto/limits.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { availableOn, preloadChunks } from "./replicas.js";
import type { Context } from "./context.js";
import { type Inode, attrOf, mustBeFile, mustInode } from "./inodes.js";
import { liveSlices, preloadSlots } from "./slot-rows.js";

/** More than this, roughly, and the answer stops early: it has to fit a message with room to spare. */
const REPLY_BYTES = LIMITS.messageMax / 4;
/** Of a slice and the place of its chunk on the wire, at most. */
const SLICE_BYTES = 96;

/** Slots first..first+count (or fewer) of a file with the places of their chunks, all of one moment. */
export function slots(tx: Tx, _ctx: Context, args: GetSlots): SlotsReply {
  const inode = mustBeFile(mustInode(tx, args.ino));
  return readSlots(tx, inode, args);
}

export function readSlots(tx: Tx, inode: Inode, want: { first: number; count: number }): SlotsReply {
  const { first } = want;
  let count = Math.min(want.count, LIMITS.slotsPerReply);
  let bytes = 0;
  const found: SlotInfo[] = [];
  const end = Math.min(first + count, inode.slotEnd);
  preloadSlots(tx, inode.ino, first, end);
  for (let slot = first; slot < end; slot++) {
    const slices = liveSlices(tx, inode, slot);
    if (slices.length > 0) found.push({ slot, slices: [...slices] });
    bytes += slices.reduce((sum, { inline }) => sum + SLICE_BYTES + inline.length, 0);
    if (bytes > REPLY_BYTES) count = Math.min(count, slot + 1 - first);
    if (slot + 1 - first === count) break;
  }
  const chunks = found.flatMap(({ slices }) => slices.map((slice) => slice.chunk));
  return { attr: attrOf(inode), slots: found, chunks: placesOf(tx, chunks), first, count, cached: false };
}

/** Where these chunks can be read, each once; 0 (no chunk) is left out. */
export function placesOf(tx: Tx, chunks: readonly number[]): ChunkPlace[] {
  const places: ChunkPlace[] = [];
  preloadChunks(tx, chunks);
  for (const id of new Set(chunks)) {
    const chunk = id === 0 ? undefined : tx.get(key.chunk(id));
    if (chunk !== undefined) places.push({ chunk: id, len: chunk.len, nodes: availableOn(chunk) });
  }
  return places;
}
