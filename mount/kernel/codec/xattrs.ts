import { fail } from "../../../proto/errno.js";
import { nameOf, type Name } from "../../../proto/name.js";
import type { Cursor } from "./cursor.js";
import { INIT, type Agreed } from "./init.js";
import type { Output } from "./output.js";

export interface SetXattrRequest {
  readonly name: Name;
  /** A copy. */
  readonly value: Buffer;
  /** XATTR_CREATE 1, XATTR_REPLACE 2. */
  readonly flags: number;
}

/** The message is longer when SETXATTR_EXT was agreed on. */
export function parseSetXattr(cursor: Cursor, agreed: Agreed): SetXattrRequest {
  const size = cursor.u32();
  const flags = cursor.u32();
  if ((agreed.flags & INIT.setxattrExt) !== 0) cursor.skip(8);
  return { flags, name: cursor.xattrName(), value: Buffer.from(cursor.bytes(size)) };
}

export interface GetXattrRequest {
  readonly name: Name;
  /** Room of the asker; 0: it only wants to know how much there is. */
  readonly size: number;
}

export function parseGetXattr(cursor: Cursor): GetXattrRequest {
  const size = cursor.u32();
  return { size, name: cursor.skip(4).xattrName() };
}

export function parseListXattr(cursor: Cursor): number {
  return cursor.u32();
}

/** The names as the kernel wants them, each ended with NUL. */
export function joinNames(names: readonly Uint8Array[]): Buffer {
  const text = names.map((name) => `${nameOf(name)}\0`).join("");
  return Buffer.from(text, "latin1");
}

/** The size, or the value itself when there is room for it: that is returned, to be sent after `out`. */
export function answerSized(out: Output, value: Buffer, room: number): Buffer | undefined {
  if (room === 0) {
    out.u32(value.length).u32(0);
    return undefined;
  }
  if (value.length > room) fail("ERANGE");
  return value;
}
