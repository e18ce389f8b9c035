import type { Attr, StatFsReply } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import { NAME_MAX } from "../../proto/name.js";

const TWO_32 = 2 ** 32;
/** Bytes that programs are advised to write at once. */
const BLOCK_SIZE = 65536;
const SECTOR = 512;
/** mode, uid, gid, size (2), dev, nlink, ino, rdev, blksize, blocks (2), atime, mtime, ctime (2 each). */
const STAT_INTS = 18;
const SMALLEST_BLOCK = 4096;
/** Of 2^32: its multiples lie evenly. */
const GOLDEN_RATIO = 0x9e3779b1;

/**
 * An inode number in 32 bits, and not 0, which would hide the file. Those of files that were made one after the other
 * differ, and those of two incarnations of a volume lie far apart; among billions, two may look like one.
 */
export function shownIno(ino: number): number {
  const high = Math.imul(Math.floor(ino / TWO_32), GOLDEN_RATIO) >>> 0;
  return (((ino % TWO_32) + high) % (TWO_32 - 2)) + 2;
}

export function statInts(attr: Attr): Uint32Array {
  const ints = new Uint32Array(STAT_INTS);
  ints.set([attr.mode, attr.uid, attr.gid, 0, 0, 0, attr.nlink, shownIno(attr.ino), attr.rdev, BLOCK_SIZE]);
  const longs: [number, number][] = [
    [3, attr.size],
    [10, Math.ceil(attr.stored / SECTOR)],
    [12, milliseconds(attr.atime)],
    [14, milliseconds(attr.mtime)],
    [16, milliseconds(attr.ctime)],
  ];
  for (const [index, value] of longs) {
    ints[index] = value % TWO_32;
    ints[index + 1] = Math.floor(value / TWO_32);
  }
  return ints;
}

/** Only number and type, as a listing needs them. */
export function entryInts(ino: number, type: number): Uint32Array {
  const ints = new Uint32Array(STAT_INTS);
  ints[0] = type;
  ints[7] = shownIno(ino);
  return ints;
}

/** Counts have 32 bits: blocks are as long as it takes. */
export function statfsInts({ capacity, free, inodes }: StatFsReply): Uint32Array {
  let block = SMALLEST_BLOCK;
  while (capacity / block >= TWO_32) block *= 2;
  const count = (n: number) => Math.min(Math.floor(n), TWO_32 - 1);
  const freeBlocks = count(free / block);
  return Uint32Array.of(
    ...[block, block, count(capacity / block), freeBlocks, freeBlocks],
    ...[count(inodes + freeBlocks), freeBlocks, freeBlocks, 0, 0, NAME_MAX],
  );
}

/** The addon divides without a sign: nothing is older than 1970. */
function milliseconds({ sec, nsec }: Time = { sec: 0, nsec: 0 }): number {
  return Math.max(0, Math.min(Number.MAX_SAFE_INTEGER, sec * 1000 + Math.floor(nsec / 1_000_000)));
}

/** A time from the halves of signed milliseconds; far away, the nearest one that can be stored. */
export function timeOf(low: number, high: number): Time {
  const ms = (high | 0) * TWO_32 + low;
  const sec = Math.floor(ms / 1000);
  const most = Number.MAX_SAFE_INTEGER;
  if (!Number.isSafeInteger(ms)) return { sec: Math.max(-most, Math.min(most, sec)), nsec: 0 };
  return { sec, nsec: (ms - sec * 1000) * 1_000_000 };
}

export function joined(low: number, high: number): number {
  return high * TWO_32 + low;
}
