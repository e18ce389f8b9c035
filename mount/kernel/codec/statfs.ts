import type { StatFsReply } from "../../../proto/gen/bigfs/v1/meta.js";
import { NAME_MAX } from "../../../proto/name.js";
import type { Output } from "./output.js";

const BLOCK = 4096;

/** fuse_statfs_out. Inodes are not limited by themselves: as many are free as there are free blocks. */
export function writeStatFs(out: Output, { capacity, free, inodes }: StatFsReply): void {
  const freeBlocks = Math.floor(free / BLOCK);
  out
    .u64(Math.floor(capacity / BLOCK))
    .u64(freeBlocks)
    .u64(freeBlocks);
  out.u64(inodes + freeBlocks).u64(freeBlocks);
  out
    .u32(BLOCK)
    .u32(NAME_MAX)
    .u32(BLOCK)
    .zeros(4 + 24);
}
