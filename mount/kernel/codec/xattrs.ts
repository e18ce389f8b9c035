import { fail } from "../../../proto/errno.js";
import { nameOf, type Name } from "../../../proto/name.js";
import type { XattrChange } from "../../vfs/filesystem.js";
import type { Cursor } from "./cursor.js";
import { INIT, type Agreed } from "./init.js";
import type { Output } from "./output.js";

/** Of the flags that SETXATTR_EXT adds. */
const ACL_KILL_SGID = 1;

/** The message is longer when SETXATTR_EXT was agreed on. */
export function parseSetXattr(cursor: Cursor, agreed: Agreed): XattrChange {
  const size = cursor.u32();
  const flags = cursor.u32();
  const more = (agreed.flags & INIT.setxattrExt) === 0 ? 0 : cursor.u32();
  if ((agreed.flags & INIT.setxattrExt) !== 0) cursor.skip(4);
  const killSgid = (more & ACL_KILL_SGID) !== 0;
  // The value is copied: the message is not ours.
  return { flags, killSgid, name: cursor.xattrName(), value: Buffer.from(cursor.bytes(size)) };
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
