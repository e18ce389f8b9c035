import { overlay } from "../../../daemon/common/overlay.js";
import type { SliceAt } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Slice } from "../../../proto/gen/bigfs/v1/rows.js";
import { type Core, SELF } from "../core.js";
import type { Ticket } from "../answers.js";

export interface InlineFile {
  readonly ino: number;
  readonly slotSize: number;
  store(data: Buffer): Promise<number>;
}

export interface Merged {
  readonly slices: SliceAt[];
  /** Bytes that were stored before are in them. */
  readonly hasOld: boolean;
}

/**
 * For slots that are too full of inline bytes: the new inline slices as slices of chunks, one for each slot, which take
 * the inline bytes that are there along, so that the metadata gets rid of them.
 *
 * `ticket` says whether anybody else changed the file since those were read: what is then still to be committed would
 * put old bytes over newer ones. When this mount may not cache the file, only the new bytes are moved.
 */
export async function mergeInline(
  core: Core,
  file: InlineFile,
  fresh: readonly SliceAt[],
  ticket: Ticket,
): Promise<Merged> {
  const slices: SliceAt[] = [];
  let hasOld = false;
  for (const slot of new Set(fresh.map((at) => at.slot))) {
    const added = fresh.flatMap((at) => (at.slot === slot && at.slice !== undefined ? [at.slice] : []));
    const old = await storedInline(core, file, slot, ticket);
    hasOld ||= old.length > 0;
    const extents = overlay([...old, ...added], 0, file.slotSize).flatMap(({ slice, pos, len, skip }) =>
      slice === undefined || slice.inline.length === 0
        ? []
        : [{ pos, inline: slice.inline.subarray(skip, skip + len) }],
    );
    const chunk = await file.store(Buffer.concat(extents.map((extent) => extent.inline)));
    let off = 0;
    for (const { pos, inline } of extents) {
      slices.push({ slot, slice: { pos, len: inline.length, chunk, off, inline: Buffer.alloc(0) } });
      off += inline.length;
    }
  }
  return { slices, hasOld };
}

/** The slot as it is stored, up to the end of the file; chunks in it hide what lies under them. */
async function storedInline(core: Core, file: InlineFile, slot: number, ticket: Ticket): Promise<Slice[]> {
  const reply = await core.parts.meta.call("slots", { ino: file.ino, first: slot, count: 1 }, SELF);
  if (!reply.cached || !ticket.isFreshInode(file.ino)) return [];
  const slices = reply.slots.find((info) => info.slot === slot)?.slices ?? [];
  const end = (reply.attr?.size ?? 0) - slot * file.slotSize;
  return slices.flatMap((slice) => {
    const len = Math.min(slice.len, end - slice.pos);
    if (len <= 0) return [];
    return [{ ...slice, len, inline: slice.inline.subarray(0, len) }];
  });
}
