/** Synchronous calls on files, each done whole. */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { fail } from "../../../proto/errno.js";
import { KIB, type Scale } from "./scale.js";

/** Of random reads and writes, and of appends. */
export const RANDOM_SIZE = 4 * KIB;

export function withFile(path: string, flags: string, work: (fd: number) => void): void {
  const fd = openSync(path, flags);
  try {
    work(fd);
  } finally {
    closeSync(fd);
  }
}

/** A small file in blocks. */
export function inBlocks({ smallSize, blockSize }: Scale, work: (size: number) => void): void {
  for (let at = 0; at < smallSize; at += blockSize) work(Math.min(blockSize, smallSize - at));
}

export function writeAll(fd: number, block: Buffer, size: number, at: number | null = null): void {
  for (let done = 0; done < size;) {
    done += writeSync(fd, block, done, size - done, at === null ? null : at + done);
  }
}

export function readAll(fd: number, block: Buffer, size: number, at: number | null = null): void {
  for (let done = 0; done < size;) {
    const more = readSync(fd, block, done, size - done, at === null ? null : at + done);
    if (more === 0) fail("EIO", `the file is shorter than what was written: ${done} of ${size} bytes were read`);
    done += more;
  }
}

/** Offsets of whole 4 KiB pieces of the large file, the same in every run (mulberry32). */
export function* randomPlaces({ bigSize, randomOps }: Scale): Generator<number> {
  const pieces = Math.floor(bigSize / RANDOM_SIZE);
  let state = 1;
  for (let i = 0; i < randomOps; i++) {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    yield Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * pieces) * RANDOM_SIZE;
  }
}
