import type { FileLock } from "../../../proto/gen/bigfs/v1/meta.js";
import { LOCK, LOCK_END } from "../../../daemon/common/file-locks.js";
import { fail } from "../../../proto/errno.js";
import type { Cursor } from "./cursor.js";
import type { Output } from "./output.js";

const LK_FLOCK = 1;
/** OFFSET_MAX: to the end of the file. */
const KERNEL_END = 2 ** 63;

export interface LockRequest {
  readonly handle: number;
  readonly lock: FileLock;
}

/** fuse_lk_in. Offsets beyond what a file can have count as its end. */
export function parseLock(cursor: Cursor): LockRequest {
  const handle = cursor.handle();
  const owner = cursor.id();
  const start = Math.min(cursor.u64(), LOCK_END);
  const end = Math.min(cursor.u64(), LOCK_END);
  const kind = cursor.u32();
  const pid = cursor.u32();
  const flock = (cursor.u32() & LK_FLOCK) !== 0;
  if (kind > LOCK.none || start > end) fail("EINVAL", "not a lock");
  return { handle, lock: { owner, flock, kind, start, end, pid } };
}

/** fuse_lk_out: what is in the way, or that nothing is. */
export function writeLock(out: Output, found: FileLock | undefined): void {
  const { start, end, kind, pid } = found ?? { start: 0, end: 0, kind: LOCK.none, pid: 0 };
  out.u64(start);
  if (end === LOCK_END) out.u32(0xffff_ffff).u32(KERNEL_END / 2 ** 32 - 1);
  else out.u64(end);
  out.u32(kind).u32(pid);
}
