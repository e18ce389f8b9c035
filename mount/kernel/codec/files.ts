import { fail } from "../../../proto/errno.js";
import type { Name } from "../../../proto/name.js";
import type { Opened, OpenFlags, WriteFlags } from "../../vfs/filesystem.js";
import type { Cursor } from "./cursor.js";
import { halvesOf } from "./handle.js";
import type { Output } from "./output.js";

const O_WRONLY = 0o1;
const O_RDWR = 0o2;
const O_ACCMODE = 0o3;
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
const O_APPEND = 0o2000;
const O_DSYNC = 0o10000;

const OPEN_KILL_PRIVILEGES = 1;
const WRITE_FROM_PAGES = 1 << 0;
const WRITE_KILL_PRIVILEGES = 1 << 2;
const FSYNC_DATA_ONLY = 1;
const RELEASE_FLOCK_UNLOCK = 1 << 1;

const FOPEN_DIRECT_IO = 1 << 0;
const FOPEN_KEEP_CACHE = 1 << 1;
const FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6;

/** The largest count that fits an answer of 32 bits and is whole pages. */
const COPY_MAX = 0xffff_f000;

function openFlags(flags: number): OpenFlags {
  const access = flags & O_ACCMODE;
  return {
    read: access === 0 || access === O_RDWR,
    write: access === O_WRONLY || access === O_RDWR,
    append: (flags & O_APPEND) !== 0,
    truncate: (flags & O_TRUNC) !== 0,
    sync: (flags & O_DSYNC) !== 0,
  };
}

export interface OpenRequest {
  readonly flags: OpenFlags;
  readonly killPrivileges: boolean;
}

export function parseOpen(cursor: Cursor): OpenRequest {
  const flags = openFlags(cursor.u32());
  return { flags, killPrivileges: (cursor.u32() & OPEN_KILL_PRIVILEGES) !== 0 };
}

export interface UnnamedRequest {
  readonly mode: number;
  readonly umask: number;
  readonly flags: OpenFlags;
}

export interface CreateRequest extends UnnamedRequest {
  readonly name: Name;
  readonly flags: OpenFlags & { exclusive: boolean };
}

export function parseCreate(cursor: Cursor): CreateRequest {
  const raw = cursor.u32();
  const mode = cursor.u32() & 0o7777;
  const umask = cursor.u32();
  const exclusive = (raw & O_EXCL) !== 0;
  return { mode, umask, flags: { ...openFlags(raw), exclusive }, name: cursor.skip(4).name() };
}

/** As CREATE, but what stands for the name is none. */
export function parseTmpfile(cursor: Cursor): UnnamedRequest {
  const flags = openFlags(cursor.u32());
  return { flags, mode: cursor.u32() & 0o7777, umask: cursor.u32() };
}

/** fuse_open_out; for `tag` see handle.ts. Writes to files that are not cached need no order among each other in the kernel. */
export function writeOpened(out: Output, opened: Opened, tag: number): void {
  const direct = opened.direct ? FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES : 0;
  const keep = opened.keepCache ? FOPEN_KEEP_CACHE : 0;
  const { low, high } = halvesOf(opened.handle, tag);
  out
    .u32(low)
    .u32(high)
    .u32(direct | keep)
    .u32(0);
}

export interface ReadRequest {
  readonly handle: number;
  readonly off: number;
  readonly size: number;
}

/** Also of READDIR and READDIRPLUS, where `off` is a cookie. */
export function parseRead(cursor: Cursor): ReadRequest {
  return { handle: cursor.handle(), off: cursor.u64(), size: cursor.u32() };
}

export interface WriteRequest {
  readonly handle: number;
  readonly off: number;
  /** A view of the request: valid during this call only. */
  readonly data: Buffer;
  readonly flags: WriteFlags;
  readonly killPrivileges: boolean;
}

/** Pages that were changed through a mapping come by any writable handle, and have their place whatever its flags are. */
export function parseWrite(cursor: Cursor): WriteRequest {
  const handle = cursor.handle();
  const off = cursor.u64();
  const size = cursor.u32();
  const kind = cursor.u32();
  const { append, sync } = openFlags(cursor.skip(8).u32());
  const data = cursor.skip(4).bytes(size);
  if (off + size > Number.MAX_SAFE_INTEGER) fail("EFBIG");
  const flags = { append: append && (kind & WRITE_FROM_PAGES) === 0, sync };
  return { handle, off, data, flags, killPrivileges: (kind & WRITE_KILL_PRIVILEGES) !== 0 };
}

/** fuse_write_out. */
export function writeCount(out: Output, count: number): void {
  out.u32(count).u32(0);
}

/** fuse_flush_in. */
export function parseFlush(cursor: Cursor): { readonly handle: number; readonly lockOwner: string } {
  const handle = cursor.handle();
  return { handle, lockOwner: cursor.skip(8).id() };
}

/** fuse_release_in. The owner is there when flock's lock ends with the open file. */
export function parseRelease(cursor: Cursor): { readonly handle: number; readonly flockOwner: string | undefined } {
  const handle = cursor.handle();
  const flags = cursor.skip(4).u32();
  const owner = cursor.id();
  return { handle, flockOwner: (flags & RELEASE_FLOCK_UNLOCK) === 0 ? undefined : owner };
}

/** The handle of RELEASEDIR. */
export function parseHandle(cursor: Cursor): number {
  return cursor.handle();
}

export interface FsyncRequest {
  readonly handle: number;
  readonly dataOnly: boolean;
}

export function parseFsync(cursor: Cursor): FsyncRequest {
  return { handle: cursor.handle(), dataOnly: (cursor.u32() & FSYNC_DATA_ONLY) !== 0 };
}

export interface FallocateRequest {
  readonly handle: number;
  readonly off: number;
  readonly len: number;
  readonly mode: number;
}

export function parseFallocate(cursor: Cursor): FallocateRequest {
  const request = { handle: cursor.handle(), off: cursor.u64(), len: cursor.u64(), mode: cursor.u32() };
  if (request.off + request.len > Number.MAX_SAFE_INTEGER) fail("EFBIG");
  return request;
}

export interface SeekRequest {
  readonly handle: number;
  readonly off: number;
  readonly whence: 3 | 4;
}

export function parseSeek(cursor: Cursor): SeekRequest {
  const handle = cursor.handle();
  const off = cursor.u64();
  const whence = cursor.u32();
  if (whence !== 3 && whence !== 4) return fail("EINVAL", `lseek whence ${whence}`);
  if (off > Number.MAX_SAFE_INTEGER) fail("ENXIO");
  return { handle, off, whence };
}

export interface CopyRequest {
  readonly from: { readonly handle: number; readonly off: number };
  readonly intoNode: number;
  readonly into: { readonly handle: number; readonly off: number };
  readonly len: number;
}

export function parseCopy(cursor: Cursor): CopyRequest {
  const from = { handle: cursor.handle(), off: cursor.u64() };
  const intoNode = cursor.u64();
  const into = { handle: cursor.handle(), off: cursor.u64() };
  const len = Math.min(cursor.u64(), COPY_MAX);
  if (cursor.u64() !== 0) fail("EINVAL", "copy_file_range flags");
  if (Math.max(from.off, into.off) + len > Number.MAX_SAFE_INTEGER) fail("EFBIG");
  return { from, intoNode, into, len };
}
