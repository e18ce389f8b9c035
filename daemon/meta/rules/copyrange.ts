import type { AttrReply, CopyRange } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Slice } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { LIMITS } from "../../../proto/limits.js";
import { overlay } from "../../common/overlay.js";
import type { Tx } from "../tx.js";
import { modeWithoutPrivileges, mustAllow } from "./access.js";
import { attrReply } from "./attributes.js";
import { type Context, mustBeWritable } from "./context.js";
import { type Inode, changeUsage, mustBeFile, mustInode, putInode } from "./inodes.js";
import { R, W } from "./modes.js";
import { newBudget } from "./references.js";
import { inlineBytes, part, withSlice, zeros } from "./slices.js";
import { liveSlices, preloadSlots, putSlices } from "./slot-rows.js";
import { noteUnsynced } from "./unsynced.js";

/** Runs within one slot that one call copies; the rest is a shorter copy. */
const PIECES_MAX = 256;

/**
 * copy_file_range(2) by reference: slices of the source are named by the target too. `copied` in the answer may be less
 * than asked for. EOPNOTSUPP: it can only be copied by its bytes (too many of them stand in the metadata).
 */
export function copyrange(tx: Tx, ctx: Context, args: CopyRange): AttrReply {
  const source = mustBeFile(mustInode(tx, args.fromIno));
  const target = mustBeFile(mustInode(tx, args.intoIno));
  mustBeWritable(ctx);
  mustAllow(ctx, source, R);
  mustAllow(ctx, target, W);
  if (source.ino === target.ino && Math.abs(args.fromOff - args.intoOff) < args.len) fail("EINVAL");
  const len = Math.min(args.len, source.size - args.fromOff);
  if (len <= 0) return attrReply(target);
  if (args.intoOff + len > LIMITS.fileSizeMax) fail("EFBIG");
  const { row, copied, chunks } = copyPieces(tx, ctx, source, target, { ...args, len });
  const hasUnsynced = noteUnsynced(tx, target, [...chunks]);
  const size = Math.max(target.size, args.intoOff + copied);
  changeUsage(tx, { bytes: size - target.size });
  const mode = modeWithoutPrivileges(ctx, row);
  const { now } = ctx;
  return {
    ...attrReply(putInode(tx, { ...row, size, mode, mtime: now, ctime: now, mtimeSet: undefined, hasUnsynced })),
    copied,
  };
}

interface Copied {
  /** The target, not put. */
  row: Inode;
  copied: number;
  /** What the target names now. */
  readonly chunks: Set<number>;
}

function copyPieces(tx: Tx, ctx: Context, source: Inode, target: Inode, want: CopyRange): Copied {
  const done: Copied = { row: target, copied: 0, chunks: new Set() };
  const reach = Math.min(want.len, (PIECES_MAX / 2) * ctx.volume.chunkSize);
  for (const [ino, off] of [
    [source.ino, want.fromOff],
    [target.ino, want.intoOff],
  ] as const) {
    preloadSlots(tx, ino, Math.floor(off / ctx.volume.chunkSize), Math.ceil((off + reach) / ctx.volume.chunkSize));
  }
  const budget = newBudget();
  for (let pieces = 0; done.copied < want.len && pieces < PIECES_MAX && budget.rows > 0; pieces++) {
    const piece = pieceAt(ctx, want, done.copied);
    const moved = slicesToCopy(liveSlices(tx, source, piece.fromSlot), piece);
    let slices = [...liveSlices(tx, done.row, piece.intoSlot)];
    for (const slice of moved) slices = withSlice(slices, slice);
    if (inlineBytes(slices) > LIMITS.inlinePerSlotMax) {
      if (done.copied === 0) fail("EOPNOTSUPP", "too many inline bytes");
      break;
    }
    if (slices.length > 0 || moved.length > 0) done.row = putSlices(tx, done.row, piece.intoSlot, slices, budget);
    for (const slice of moved) if (slice.chunk !== 0) done.chunks.add(slice.chunk);
    done.copied += piece.len;
  }
  return done;
}

/** A run of bytes that lies in one slot of the source and in one of the target. */
interface Piece {
  readonly fromSlot: number;
  readonly fromPos: number;
  readonly intoSlot: number;
  readonly intoPos: number;
  readonly len: number;
}

function pieceAt({ volume: { chunkSize } }: Context, want: CopyRange, done: number): Piece {
  const from = want.fromOff + done;
  const into = want.intoOff + done;
  const fromPos = from % chunkSize;
  const intoPos = into % chunkSize;
  const len = Math.min(want.len - done, chunkSize - fromPos, chunkSize - intoPos);
  return { fromSlot: Math.floor(from / chunkSize), fromPos, intoSlot: Math.floor(into / chunkSize), intoPos, len };
}

function slicesToCopy(slices: readonly Slice[], { fromPos, intoPos, len }: Piece): Slice[] {
  return overlay(slices, fromPos, len).map((run) => {
    const pos = run.pos - fromPos + intoPos;
    const slice = run.slice === undefined ? undefined : part(run.slice, run.pos, run.pos + run.len);
    return slice === undefined ? zeros(pos, run.len) : { ...slice, pos };
  });
}
