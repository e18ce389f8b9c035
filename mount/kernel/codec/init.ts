import type { Cursor } from "./cursor.js";
import type { Output } from "./output.js";

/** What this build speaks. */
export const VERSION = { major: 7, minor: 45 } as const;

/** Oldest minor version that has all that is needed (READDIRPLUS, RENAME2, MAX_PAGES: Linux 4.20). */
export const MINOR_MIN = 28;

/**
 * Bits of `flags` that are agreed on where the kernel offers them. Left out of 7.45, with INIT2:
 *
 * - FILE_OPS (2): no kernel uses it. HANDLE_KILLPRIV (19): the second version says when, this one does not.
 * - EXPORT_SUPPORT (4), NO_EXPORT_SUPPORT (38): a handle (name_to_handle_at) opens what the kernel still knows; else ESTALE.
 * - SPLICE_* (7 to 9): requests and answers are copied once, to and from JavaScript's memory.
 * - HAS_IOCTL_DIR (11): there is no ioctl (ENOTTY).
 * - WRITEBACK_CACHE (16): with it the kernel ignores the sizes that other mounts have brought about.
 * - NO_OPEN_SUPPORT (17), NO_OPENDIR_SUPPORT (24): open files are counted, and listings have a state.
 * - EXPLICIT_INVAL_DATA (25): new times drop old pages also where no notification came.
 * - MAP_ALIGNMENT (26), HAS_INODE_DAX (33): virtiofs'. SUBMOUNTS (27): there are none.
 * - SECURITY_CTX (32): labels are set as xattrs. ALLOW_IDMAP (40): of its requests nobody knows who asks.
 * - CREATE_SUPP_GROUP (34): the kernel itself takes set-group-id from who is not in the folder's group.
 * - PASSTHROUGH (37): files are not local ones.
 * - OVER_IO_URING (41): /dev/fuse is read. REQUEST_TIMEOUT (42): who waits for a lock may wait for ever.
 */
export const INIT = {
  asyncRead: 1 << 0,
  posixLocks: 1 << 1,
  atomicTruncate: 1 << 3,
  bigWrites: 1 << 5,
  dontMask: 1 << 6,
  flockLocks: 1 << 10,
  autoInvalidateData: 1 << 12,
  doReaddirplus: 1 << 13,
  readdirplusAuto: 1 << 14,
  asyncDirectIo: 1 << 15,
  parallelDirOps: 1 << 18,
  posixAcl: 1 << 20,
  abortError: 1 << 21,
  maxPages: 1 << 22,
  cacheSymlinks: 1 << 23,
  handleKillPrivV2: 1 << 28,
  setxattrExt: 1 << 29,
  initExt: 1 << 30,
} as const;

/** The same of `flags2`, the bits 32 and up of the protocol's flags. */
export const INIT2 = {
  hasExpireOnly: 1 << 3,
  directIoAllowMmap: 1 << 4,
  hasResend: 1 << 7,
} as const;

const WANTED = Object.values(INIT).reduce((all, bit) => all | bit, 0);
const WANTED2 = Object.values(INIT2).reduce((all, bit) => all | bit, 0);

const PAGE = 4096;

export interface InitRequest {
  readonly major: number;
  readonly minor: number;
  readonly maxReadahead: number;
  readonly flags: number;
  readonly flags2: number;
}

/** What both sides can do. */
export interface Agreed {
  readonly minor: number;
  readonly flags: number;
  readonly flags2: number;
  readonly maxReadahead: number;
}

export function parseInit(cursor: Cursor): InitRequest {
  const major = cursor.u32();
  const minor = cursor.u32();
  const maxReadahead = cursor.u32();
  const flags = cursor.u32();
  const flags2 = (flags & INIT.initExt) !== 0 && cursor.left >= 4 ? cursor.u32() : 0;
  return { major, minor, maxReadahead, flags, flags2 };
}

export function agree(asked: InitRequest): Agreed {
  return {
    minor: Math.min(asked.minor, VERSION.minor),
    flags: asked.flags & WANTED,
    flags2: asked.flags2 & WANTED2,
    maxReadahead: asked.maxReadahead,
  };
}

/** Bounds of one connection. */
export interface Bounds {
  /** Bytes of one read or write. */
  readonly maxWrite: number;
  /** Requests of the kernel's own (read-ahead, write-back) under way at once. */
  readonly maxBackground: number;
}

export function writeInit(out: Output, agreed: Agreed, bounds: Bounds): void {
  out
    .u32(VERSION.major)
    .u32(agreed.minor)
    .u32(agreed.maxReadahead)
    .u32(agreed.flags)
    .u16(bounds.maxBackground)
    .u16(Math.floor((bounds.maxBackground * 3) / 4))
    .u32(bounds.maxWrite)
    .u32(1) // times are exact to the nanosecond
    .u16(bounds.maxWrite / PAGE)
    .u16(0)
    .u32(agreed.flags2)
    .zeros(28);
}
