import { overlay } from "../../../daemon/common/overlay.js";
import type { SliceAt } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Slice } from "../../../proto/gen/bigfs/v1/rows.js";
import { type Core, SELF, mustAttr } from "../core.js";
import type { Ticket } from "../answers.js";

export interface InlineFile {
  readonly ino: number;
  readonly slotSize: number;
  store(data: Buffer): Promise<number>;
}

export interface Merged {
  readonly slices: SliceAt[];
  /** Of the file whose bytes are in them; undefined: there are only new ones. */
  readonly ifVersion: number | undefined;
}

/**
 * For slots that are too full of inline bytes: the new inline slices as slices of chunks, one for each slot, which take
 * the inline bytes that are there along, so that the metadata gets rid of them.
 *
 * They may be committed to that version of the file only: later they would put old bytes over newer ones. With a
 * ticket, only the new bytes are moved when somebody else changes the file or this mount may not cache it.
 */
export async function mergeInline(
  core: Core,
  file: InlineFile,
  fresh: readonly SliceAt[],
  ticket?: Ticket,
): Promise<Merged> {
  const slices: SliceAt[] = [];
  let ifVersion: number | undefined;
  for (const slot of new Set(fresh.map((at) => at.slot))) {
    const added = fresh.flatMap((at) => (at.slot === slot && at.slice !== undefined ? [at.slice] : []));
    const old = await storedInline(core, file, slot, ticket);
    if (old.slices.length > 0) ifVersion ??= old.version;
    const extents = overlay([...old.slices, ...added], 0, file.slotSize).flatMap(({ slice, pos, len, skip }) =>
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
  return { slices, ifVersion };
}

/** The slot as it is stored, up to the end of the file; chunks in it hide what lies under them. */
async function storedInline(
  core: Core,
  file: InlineFile,
  slot: number,
  ticket: Ticket | undefined,
): Promise<{ version: number; slices: Slice[] }> {
  const reply = await core.parts.meta.call("slots", { ino: file.ino, first: slot, count: 1 }, SELF);
  const { version, size } = mustAttr(reply.attr);
  if (ticket !== undefined && !(reply.cached && ticket.isFreshInode(file.ino))) return { version, slices: [] };
  const slices = reply.slots.find((info) => info.slot === slot)?.slices ?? [];
  const end = size - slot * file.slotSize;
  const kept = slices.flatMap((slice) => {
    const len = Math.min(slice.len, end - slice.pos);
    if (len <= 0) return [];
    return [{ ...slice, len, inline: slice.inline.subarray(0, len) }];
  });
  return { version, slices: kept };
}
