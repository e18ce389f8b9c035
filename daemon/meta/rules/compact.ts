import type { Compact, CompactReply } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Slice } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { spansOf } from "../../common/overlay.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { makeGarbage } from "./chunks.js";
import { type Context, mustBeWritable } from "./context.js";
import { type Inode, attrOf, mustBeFile, mustInode, putInode } from "./inodes.js";
import { newBudget } from "./references.js";
import { availableOn, isSynced, neededOf, preloadChunks } from "./replicas.js";
import { countChunks, sameSlices } from "./slices.js";
import { liveSlices, putSlices } from "./slot-rows.js";

/**
 * Puts the same bytes in fewer pieces into a slot, if that is as it was when they were read: its slices name chunks that
 * never change, so equal lists are equal bytes. The old chunks are garbage then; the new one has to be on M disks before,
 * because the old ones may have been.
 */
export function compact(tx: Tx, ctx: Context, args: Compact): CompactReply {
  const inode = mustBeFile(mustInode(tx, args.ino));
  mustBeWritable(ctx);
  mustCoverTheSame(args);
  mustBeSynced(tx, ctx, inode, args.after);
  if (!sameSlices(liveSlices(tx, inode, args.slot), args.before)) {
    discard(tx, args.after);
    return { attr: attrOf(inode), cached: false, done: false };
  }
  const compacted = putSlices(tx, inode, args.slot, [...args.after], newBudget());
  return { attr: attrOf(putInode(tx, compacted)), cached: false, done: true };
}

function mustCoverTheSame({ before, after }: Compact): void {
  const [old, fresh] = [spansOf(before), spansOf(after)];
  const isSame =
    old.length === fresh.length && old.every((at, i) => at.pos === fresh[i]?.pos && at.len === fresh[i].len);
  if (old.length === 0 || !isSame) fail("EINVAL", "what shall be compacted covers other bytes");
}

function mustBeSynced(tx: Tx, ctx: Context, inode: Inode, after: readonly Slice[]): void {
  preloadChunks(
    tx,
    after.map(({ chunk }) => chunk),
  );
  for (const { chunk: id, off, len, inline } of after) {
    if (id === 0 || inline.length > 0) fail("EINVAL", "compacted bytes are in chunks");
    const chunk = tx.get(key.chunk(id)) ?? fail("EIO", `chunk ${id} is not registered`);
    if (chunk.session !== ctx.session) fail("EIO", `chunk ${id} belongs to another session`);
    if (chunk.garbage) fail("EIO", `chunk ${id} is garbage`);
    if (off + len > chunk.len) fail("EIO", `chunk ${id} is shorter than the slice`);
    const wanted = { ...chunk, wanted: inode.replicas };
    const live = availableOn(chunk).filter((node) => ctx.isLive(node));
    if (live.length < neededOf(wanted, ctx.volume)) fail("EAGAIN", `chunk ${id} has ${live.length} live copies`);
    if (!isSynced(wanted, ctx.volume)) fail("EAGAIN", `chunk ${id} is not synced`);
  }
}

/** Nobody will want them any more. */
function discard(tx: Tx, after: readonly Slice[]): void {
  for (const id of countChunks(after).keys()) {
    const chunk = tx.get(key.chunk(id));
    if (chunk?.refs === 0 && !chunk.garbage) makeGarbage(tx, chunk, { ino: 0, version: 0 });
  }
}
