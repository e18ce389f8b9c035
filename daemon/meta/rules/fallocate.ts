import type { AttrReply, Fallocate } from "../../../proto/gen/bigfs/v1/meta.js";
import { fail } from "../../../proto/errno.js";
import { LIMITS } from "../../../proto/limits.js";
import type { Tx } from "../tx.js";
import { modeWithoutPrivileges, mustAllow } from "./access.js";
import { attrReply } from "./attributes.js";
import { type Context, mustBeWritable } from "./context.js";
import { type Inode, changeUsage, mustInode, putInode } from "./inodes.js";
import { W, isDir, isFile } from "./modes.js";
import { punched } from "./truncate.js";

const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;

/**
 * fallocate(2). Nothing is reserved: allocating only grows the file, and holes stay holes. EOPNOTSUPP for other modes.
 */
export function fallocate(tx: Tx, ctx: Context, args: Fallocate): AttrReply {
  const { off, len, mode } = args;
  const keep = (mode & KEEP_SIZE) !== 0;
  const punch = (mode & PUNCH_HOLE) !== 0;
  const zero = (mode & ZERO_RANGE) !== 0;
  if (len === 0) fail("EINVAL");
  if ((mode & ~(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE)) !== 0 || (punch && (zero || !keep))) fail("EOPNOTSUPP");
  const inode = mustBeAllocatable(mustInode(tx, args.ino));
  mustBeWritable(ctx);
  mustAllow(ctx, inode, W);
  const end = off + len;
  if (end > LIMITS.fileSizeMax) fail("EFBIG");
  const cleared = punch || zero ? punched(tx, ctx, inode, off, end) : inode;
  const size = keep ? inode.size : Math.max(inode.size, end);
  changeUsage(tx, { bytes: size - inode.size });
  const changed = { ...cleared, size, mode: modeWithoutPrivileges(ctx, inode) };
  return attrReply(putInode(tx, { ...changed, mtime: ctx.now, ctime: ctx.now, mtimeSet: undefined }));
}

function mustBeAllocatable(inode: Inode): Inode {
  if (isFile(inode)) return inode;
  return fail(isDir(inode) ? "EISDIR" : "ENODEV");
}
