import type { Name } from "../../../proto/name.js";
import { fail } from "../../../proto/errno.js";
import type { Cursor } from "./cursor.js";

export interface MknodRequest {
  readonly name: Name;
  readonly mode: number;
  readonly rdev: number;
  readonly umask: number;
}

export function parseMknod(cursor: Cursor): MknodRequest {
  const mode = cursor.u32();
  const rdev = cursor.u32();
  const umask = cursor.u32();
  return { mode, rdev, umask, name: cursor.skip(4).name() };
}

export interface MkdirRequest {
  readonly name: Name;
  readonly mode: number;
  readonly umask: number;
}

export function parseMkdir(cursor: Cursor): MkdirRequest {
  const mode = cursor.u32() & 0o7777;
  const umask = cursor.u32();
  return { mode, umask, name: cursor.name() };
}

export interface SymlinkRequest {
  readonly name: Name;
  readonly target: Buffer;
}

export function parseSymlink(cursor: Cursor): SymlinkRequest {
  return { name: cursor.name(), target: cursor.text() };
}

export interface LinkRequest {
  readonly ino: number;
  readonly name: Name;
}

export function parseLink(cursor: Cursor): LinkRequest {
  return { ino: cursor.u64(), name: cursor.name() };
}

export interface RenameRequest {
  readonly intoDir: number;
  readonly fromName: Name;
  readonly intoName: Name;
  readonly noReplace: boolean;
  readonly exchange: boolean;
  readonly whiteout: boolean;
}

const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
const RENAME_WHITEOUT = 4;

export function parseRename(cursor: Cursor): RenameRequest {
  const intoDir = cursor.u64();
  const flags = { noReplace: false, exchange: false, whiteout: false };
  return { intoDir, ...flags, fromName: cursor.name(), intoName: cursor.name() };
}

export function parseRename2(cursor: Cursor): RenameRequest {
  const intoDir = cursor.u64();
  const flags = cursor.u32();
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) !== 0) fail("EINVAL", `rename flags ${flags}`);
  const noReplace = (flags & RENAME_NOREPLACE) !== 0;
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  const whiteout = (flags & RENAME_WHITEOUT) !== 0;
  if (exchange && flags !== RENAME_EXCHANGE) fail("EINVAL", "rename: EXCHANGE with NOREPLACE or WHITEOUT");
  return { intoDir, noReplace, exchange, whiteout, fromName: cursor.skip(4).name(), intoName: cursor.name() };
}

export interface Forgotten {
  readonly ino: number;
  readonly count: number;
}

export function parseForget(cursor: Cursor): number {
  return cursor.u64();
}

export function parseBatchForget(cursor: Cursor): Forgotten[] {
  const count = cursor.u32();
  cursor.skip(4);
  if (count * 16 > cursor.left) fail("EINVAL", "a batch of forgets is too short");
  return Array.from({ length: count }, () => ({ ino: cursor.u64(), count: cursor.u64() }));
}
