import { ERRNO } from "../../proto/errno.js";
import type { FuseNative } from "./binding.js";

/** Where fuse_thread_locals_t of fuse-native 2.2.6 has both times, in milliseconds, on machines of 64 bits. */
const ATIME = 104;
const MTIME = 112;

/**
 * fuse-native passes atime where it should pass mtime. It does have mtime, in the record of the thread that asks: taken
 * from there, if atime is where it should be; otherwise nobody can know it, and setting times is refused.
 */
export function withMtime(fuse: FuseNative): void {
  let thread: Buffer | undefined;
  fuse._handlers = fuse._handlers.map((handler) => (record, opcode, ...args) => {
    thread = record;
    handler(record, opcode, ...args);
  });
  const utimens = fuse._op_utimens;
  fuse._op_utimens = (signal, path, ...times) => {
    const mtime = thread === undefined ? undefined : mtimeIn(thread, times as [number, number]);
    if (mtime === undefined) signal(-ERRNO.EOPNOTSUPP);
    else utimens?.(signal, path, times[0], times[1], ...mtime);
  };
}

function mtimeIn(thread: Buffer, [low, high]: [number, number]): [number, number] | undefined {
  if (thread.length < MTIME + 8) return undefined;
  if (thread.readUInt32LE(ATIME) !== low || thread.readUInt32LE(ATIME + 4) !== high) return undefined;
  return [thread.readUInt32LE(MTIME), thread.readUInt32LE(MTIME + 4)];
}
