import type { Cursor } from "./cursor.js";

/** Bytes of every request's header. */
export const IN_HEADER = 40;

/** Who asks what about which node. */
export interface Head {
  /** Bytes of the whole message. */
  readonly length: number;
  readonly opcode: number;
  /** Names the request in its answer; opaque, so its 64 bits are kept as they came. */
  readonly unique: { readonly low: number; readonly high: number };
  /** An inode number, 0 where there is none. */
  readonly node: number;
  readonly who: { readonly uid: number; readonly gid: number; readonly pid: number };
}

export function parseHead(cursor: Cursor): Head {
  const length = cursor.u32();
  const opcode = cursor.u32();
  const unique = { low: cursor.u32(), high: cursor.u32() };
  const node = cursor.u64();
  const who = { uid: cursor.u32(), gid: cursor.u32(), pid: cursor.u32() };
  cursor.skip(4);
  return { length, opcode, unique, node, who };
}
