import type { Attr, Commit, CommitReply, SliceAt } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Slice } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { LIMITS } from "../../../proto/limits.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { modeWithoutPrivileges } from "./access.js";
import { makeGarbage } from "./chunks.js";
import { type Context, mustBeWritable } from "./context.js";
import { sizeLeft, spansLeft } from "./cuts.js";
import { type Inode, attrOf, changeUsage, mustBeFile, mustInode, putInode } from "./inodes.js";
import { placesOf } from "./read-slots.js";
import { countChunks, inlineBytes, isZeros, part, withSlice } from "./slices.js";
import { newBudget } from "./references.js";
import { availableOn, neededOf, preloadChunks } from "./replicas.js";
import { setattr } from "./setattr.js";
import { liveSlices, mayHaveSlot, putSlices } from "./slot-rows.js";
import { compareTimes, earlierOf, laterOf } from "./times.js";
import { noteUnsynced } from "./unsynced.js";

/**
 * Makes bytes that are stored part of a file. EAGAIN, with no effect: a chunk lacks M copies on live nodes, or storage
 * is far behind with syncing. EIO: a chunk is not this session's, or not known. EFBIG: too much inline data in a slot.
 * EBUSY: the file is not of the version that the slices were made from.
 */
export function commit(tx: Tx, ctx: Context, args: Commit): CommitReply {
  const inode = mustBeFile(mustInode(tx, args.ino));
  mustBeWritable(ctx);
  if (args.ifVersion !== undefined && args.ifVersion !== inode.version) fail("EBUSY", `inode ${inode.ino} has changed`);
  if (args.slices.length > LIMITS.slicesPerCommit) fail("EINVAL", "too many slices");
  for (const at of args.slices) mustBeSound(ctx, at);
  const placed = args.append ? appended(ctx, inode, args.slices) : remaining(ctx, inode, args);
  const named = countChunks(placed.map(({ slice }) => slice));
  mustBeStored(tx, ctx, inode, { placed, named });
  const wanted = args.append ? 0 : sizeLeft(inode, args.truncSeq, args.sizeAtLeast);
  const size = placed.reduce((end, at) => Math.max(end, endOf(ctx, at)), Math.max(inode.size, wanted));
  if (size > LIMITS.fileSizeMax) fail("EFBIG");
  const mode = modeWithoutPrivileges(ctx, inode);
  const filled = withSlices(tx, { ...inode, size, mode }, placed);
  const hasUnsynced = noteUnsynced(tx, inode, [...named.keys()]);
  discardUnused(tx, ctx, inode, args.slices);
  changeUsage(tx, { bytes: size - inode.size });
  const written = putInode(tx, { ...withTimes(ctx, filled, args), hasUnsynced });
  const attr = setAlong(tx, ctx, args, inode) ?? attrOf(written);
  return { attr, cached: false, chunks: placesOf(tx, [...named.keys()]), synced: false };
}

/**
 * As if it had been asked for when it was told. When others have changed the file since, it was sent by itself as well,
 * before they could: then nothing of it is due.
 */
function setAlong(tx: Tx, ctx: Context, { ino, set, setAt = ctx.now }: Commit, before: Inode): Attr | undefined {
  if (set === undefined) return undefined;
  if (set.size !== undefined) fail("EINVAL", "a commit sets no size");
  if (before.ctime !== undefined && compareTimes(before.ctime, setAt) > 0) return undefined;
  return setattr(tx, { ...ctx, now: earlierOf(setAt, ctx.now), isTold: true }, { ...set, ino }).attr;
}

function mustBeSound({ volume }: Context, { slot, slice }: SliceAt): void {
  const { pos, len, chunk, inline } = slice ?? fail("EINVAL", "no slice");
  if (len === 0 || pos + len > volume.chunkSize) fail("EINVAL", "slice is empty or leaves its slot");
  if (inline.length > 0 && (chunk !== 0 || inline.length !== len))
    fail("EINVAL", "inline bytes do not match the slice");
  if (inline.length > LIMITS.inlineMax) fail("EFBIG");
  if (slot > LIMITS.fileSizeMax / volume.chunkSize) fail("EFBIG");
}

interface Placed {
  readonly slot: number;
  readonly slice: Slice;
}

function endOf({ volume }: Context, { slot, slice }: Placed): number {
  return slot * volume.chunkSize + slice.pos + slice.len;
}

/** The slices from the end of the file on. */
function appended(ctx: Context, inode: Inode, slices: readonly SliceAt[]): Placed[] {
  const { chunkSize } = ctx.volume;
  return slices.flatMap(({ slot, slice }) => {
    if (slice === undefined) return [];
    const from = inode.size + slot * chunkSize + slice.pos;
    return placedAt(chunkSize, slice, from);
  });
}

/** A slice that starts at this byte of the file; in two pieces when it reaches into a second slot. */
function placedAt(chunkSize: number, slice: Slice, from: number): Placed[] {
  const slot = Math.floor(from / chunkSize);
  const moved = { ...slice, pos: from % chunkSize };
  const here = part(moved, 0, chunkSize);
  const there = part(moved, chunkSize, Infinity);
  const pieces = here === undefined ? [] : [{ slot, slice: here }];
  return there === undefined
    ? pieces
    : [...pieces, { slot: slot + 1, slice: { ...there, pos: there.pos - chunkSize } }];
}

/** What truncations since the bytes were written have left of the slices. */
function remaining(ctx: Context, inode: Inode, { slices, truncSeq }: Commit): Placed[] {
  return slices.flatMap(({ slot, slice }) => {
    if (slice === undefined) return [];
    const start = slot * ctx.volume.chunkSize;
    const from = start + slice.pos;
    const spans = spansLeft(inode, truncSeq, { from, to: from + slice.len });
    return spans.flatMap((span) => {
      const left = part(slice, span.from - start, span.to - start);
      return left === undefined ? [] : [{ slot, slice: left }];
    });
  });
}

function mustBeStored(
  tx: Tx,
  ctx: Context,
  inode: Inode,
  { placed, named }: { readonly placed: readonly Placed[]; readonly named: ReadonlyMap<number, number> },
): void {
  const needed = neededOf({ wanted: inode.replicas }, ctx.volume);
  preloadChunks(tx, named.keys());
  for (const id of named.keys()) {
    const chunk = tx.get(key.chunk(id)) ?? fail("EIO", `chunk ${id} is not registered`);
    if (chunk.session !== ctx.session) fail("EIO", `chunk ${id} belongs to another session`);
    if (chunk.garbage && tx.get(key.garbage(id))?.deleting === true) fail("EIO", `chunk ${id} is being deleted`);
    const reach = placed.filter(({ slice }) => slice.chunk === id).map(({ slice }) => slice.off + slice.len);
    if (Math.max(...reach) > chunk.len) fail("EIO", `chunk ${id} is shorter than the slice`);
    const live = availableOn(chunk).filter((node) => ctx.isLive(node));
    if (live.length < needed) fail("EAGAIN", `chunk ${id} has ${live.length} live copies`);
  }
}

function withSlices(tx: Tx, inode: Inode, placed: readonly Placed[]): Inode {
  const bySlot = new Map<number, Slice[]>();
  for (const { slot, slice } of placed) bySlot.set(slot, [...(bySlot.get(slot) ?? []), slice]);
  const slots = [...bySlot.keys()].filter((slot) => mayHaveSlot(inode, slot));
  tx.preload?.(slots.map((slot) => key.slot(inode.ino, slot)));
  const budget = newBudget();
  let row = inode;
  for (const [slot, pieces] of bySlot) {
    let slices = [...liveSlices(tx, row, slot)];
    for (const slice of pieces) slices = withSlice(slices, owned(slice));
    if (inlineBytes(slices) > LIMITS.inlinePerSlotMax) fail("EFBIG", `too many inline bytes in slot ${slot}`);
    row = putSlices(tx, row, slot, slices, budget);
  }
  return row;
}

/** Chunks that a truncation or a later slice has left nothing of are not wanted any more. */
function discardUnused(tx: Tx, ctx: Context, inode: Inode, slices: readonly SliceAt[]): void {
  for (const id of new Set(slices.map(({ slice }) => slice?.chunk ?? 0))) {
    const chunk = id === 0 ? undefined : tx.get(key.chunk(id));
    if (chunk === undefined || chunk.refs > 0 || chunk.garbage || chunk.session !== ctx.session) continue;
    makeGarbage(tx, chunk, { ino: inode.ino, version: inode.version + 1 });
  }
}

/** Rows outlive the message that the bytes came in. */
function owned(slice: Slice): Slice {
  return isZeros(slice) || slice.chunk !== 0 ? slice : { ...slice, off: 0, inline: Buffer.from(slice.inline) };
}

/**
 * mtime and ctime are when the bytes were written, by the client's reckoning, never in the future: what stat() showed
 * before the commit, it shows after it. An mtime that was set explicitly after that stays.
 */
function withTimes({ now }: Context, inode: Inode, { mtime, setAt }: Commit): Inode {
  const written = earlierOf(mtime ?? setAt ?? now, now);
  const row = { ...inode, ctime: laterOf(inode.ctime, written) };
  if (mtime === undefined) return row;
  if (inode.mtimeSet === undefined) return { ...row, mtime: laterOf(inode.mtime, written) };
  return compareTimes(written, inode.mtimeSet) > 0 ? { ...row, mtime: written, mtimeSet: undefined } : row;
}
