import type { Attr } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import type { Attributes, Change, Found } from "../../vfs/filesystem.js";
import type { Cursor } from "./cursor.js";
import type { Output } from "./output.js";

/** Bytes that programs are advised to write at once. */
const BLOCK_SIZE = 65536;
const SECTOR = 512;
const FOREVER_SECONDS = 2 ** 31;
const EPOCH: Time = { sec: 0, nsec: 0 };

const STATX_BASIC_STATS = 0x7ff;
const STATX_BTIME = 0x800;

const GETATTR_HANDLE = 1;

const SET = {
  mode: 1 << 0,
  uid: 1 << 1,
  gid: 1 << 2,
  size: 1 << 3,
  atime: 1 << 4,
  mtime: 1 << 5,
  handle: 1 << 6,
  atimeNow: 1 << 7,
  mtimeNow: 1 << 8,
  killPrivileges: 1 << 11,
} as const;

/** The handle, when the question is about an open file. */
export function parseGetattr(cursor: Cursor): number | undefined {
  const flags = cursor.u32();
  const handle = cursor.skip(4).handle();
  return (flags & GETATTR_HANDLE) !== 0 ? handle : undefined;
}

export interface SetattrRequest {
  readonly change: Change;
  readonly handle: number | undefined;
  /** Set-user-id and set-group-id end with this change. */
  readonly killPrivileges: boolean;
}

/** Seconds as near to these as can be stored (to the year 285,428,751), as filesystems do it. */
function storable(sec: number): number {
  return Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, sec));
}

export function parseSetattr(cursor: Cursor): SetattrRequest {
  const valid = cursor.u32();
  const has = (bit: number) => (valid & bit) !== 0;
  const handle = cursor.skip(4).handle();
  const size = cursor.u64();
  const atimeSec = storable(cursor.skip(8).i64());
  const mtimeSec = storable(cursor.i64());
  const atime = { sec: atimeSec, nsec: cursor.skip(8).u32() };
  const mtime = { sec: mtimeSec, nsec: cursor.u32() };
  const mode = cursor.skip(4).u32() & 0o7777;
  const uid = cursor.skip(4).u32();
  const gid = cursor.u32();
  if (has(SET.size) && size > Number.MAX_SAFE_INTEGER) fail("EFBIG");
  return {
    change: {
      ...(has(SET.mode) ? { mode } : {}),
      ...(has(SET.uid) ? { uid } : {}),
      ...(has(SET.gid) ? { gid } : {}),
      ...(has(SET.size) ? { size } : {}),
      ...(has(SET.atime) ? { atime: has(SET.atimeNow) ? "now" : atime } : {}),
      ...(has(SET.mtime) ? { mtime: has(SET.mtimeNow) ? "now" : mtime } : {}),
    },
    handle: has(SET.handle) ? handle : undefined,
    killPrivileges: has(SET.killPrivileges),
  };
}

function seconds(ms: number): number {
  return Math.min(Math.floor(Math.max(ms, 0) / 1000), FOREVER_SECONDS);
}

function nanoseconds(ms: number): number {
  if (!(ms > 0) || ms / 1000 >= FOREVER_SECONDS) return 0;
  return Math.floor((ms % 1000) * 1_000_000);
}

/** fuse_attr, 88 bytes. */
function writeAttr(out: Output, attr: Attr): void {
  const { atime = EPOCH, mtime = EPOCH, ctime = EPOCH } = attr;
  out
    .u64(attr.ino)
    .u64(attr.size)
    .u64(Math.ceil(attr.stored / SECTOR))
    .i64(atime.sec)
    .i64(mtime.sec)
    .i64(ctime.sec)
    .u32(atime.nsec)
    .u32(mtime.nsec)
    .u32(ctime.nsec)
    .u32(attr.mode)
    .u32(attr.nlink)
    .u32(attr.uid)
    .u32(attr.gid)
    .u32(attr.rdev)
    .u32(BLOCK_SIZE)
    .u32(0);
}

/** fuse_attr_out, 104 bytes. */
export function writeAttributes(out: Output, { attr, attrMs }: Attributes): void {
  out.u64(seconds(attrMs)).u32(nanoseconds(attrMs)).u32(0);
  writeAttr(out, attr);
}

/** Bytes of fuse_entry_out. */
export const ENTRY_BYTES = 128;

/** fuse_entry_out; without attributes it says that there is no such name, or (in a listing) that nothing is told. */
export function writeEntry(out: Output, found: Found | undefined): void {
  if (found === undefined) {
    out.zeros(ENTRY_BYTES);
    return;
  }
  const { attr, entryMs, attrMs } = found;
  out.u64(attr?.ino ?? 0).u64(0);
  out.u64(seconds(entryMs)).u64(seconds(attrMs)).u32(nanoseconds(entryMs)).u32(nanoseconds(attrMs));
  if (attr === undefined) out.zeros(88);
  else writeAttr(out, attr);
}

/** The handle of fuse_statx_in, which begins as fuse_getattr_in does. */
export const parseStatx = parseGetattr;

/** fuse_statx_out, 288 bytes. */
export function writeStatx(out: Output, { attr, attrMs }: Attributes): void {
  const { atime = EPOCH, btime = EPOCH, ctime = EPOCH, mtime = EPOCH } = attr;
  out.u64(seconds(attrMs)).u32(nanoseconds(attrMs)).u32(0).zeros(16);
  out
    .u32(STATX_BASIC_STATS | (attr.btime === undefined ? 0 : STATX_BTIME))
    .u32(BLOCK_SIZE)
    .u64(0)
    .u32(attr.nlink)
    .u32(attr.uid)
    .u32(attr.gid);
  out
    .u16(attr.mode & 0xffff)
    .u16(0)
    .u64(attr.ino)
    .u64(attr.size)
    .u64(Math.ceil(attr.stored / SECTOR))
    .u64(0);
  for (const time of [atime, btime, ctime, mtime]) out.i64(time.sec).u32(time.nsec).u32(0);
  out
    .u32(major(attr.rdev))
    .u32(minor(attr.rdev))
    .zeros(8 + 14 * 8);
}

/** Device numbers travel in the kernel's 32-bit form: 12 bits of major, 20 of minor, the upper minor bits on top. */
function major(rdev: number): number {
  return (rdev >>> 8) & 0xfff;
}

function minor(rdev: number): number {
  return (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
}
