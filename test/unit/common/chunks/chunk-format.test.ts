import { crc32 } from "node:zlib";
import fc from "fast-check";
import { test } from "tap";
import { FsError } from "../../../../proto/errno.js";
import {
  BLOCK,
  blockCrcs,
  blockSpan,
  decodeFile,
  decodeHeader,
  encodeHeader,
  fileBytes,
  headerBytes,
  verifyBlocks,
  wholeCrc,
} from "../../../../daemon/common/chunks/chunk-format.js";

const LENGTHS = [0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 17];
const length = fc.oneof(fc.constantFrom(...LENGTHS), fc.nat(4 * BLOCK));
const id = fc.oneof(fc.nat(), fc.constant(2 ** 53 - 1));

function bytes(len: number, seed: number): Buffer {
  const data = Buffer.alloc(len);
  let state = seed | 1;
  for (let i = 0; i < len; i++) data[i] = (state = Math.imul(state, 1664525) + 1013904223) >>> 24;
  return data;
}

function fileOf(chunk: number, data: Buffer): Buffer {
  return Buffer.concat([
    encodeHeader({ id: chunk, len: data.length, crc: crc32(data), blocks: blockCrcs(data) }),
    data,
  ]);
}

test("a chunk file gives back its id, length, checksum and bytes", async () => {
  fc.assert(
    fc.property(id, length, fc.nat(), (chunk, len, seed) => {
      const data = bytes(len, seed);
      const file = fileOf(chunk, data);
      const back = decodeFile(chunk, file);
      return (
        file.length === fileBytes(len) &&
        back.header.id === chunk &&
        back.header.len === len &&
        back.header.crc === crc32(data) &&
        back.data.equals(data)
      );
    }),
  );
});

test("the checksum of all data follows from those of its blocks", async () => {
  fc.assert(
    fc.property(length, fc.nat(), (len, seed) => {
      const data = bytes(len, seed);
      return wholeCrc(blockCrcs(data), len) === crc32(data);
    }),
  );
});

test("any flipped bit of a chunk file is detected", async () => {
  fc.assert(
    fc.property(length, fc.nat(), fc.nat(), fc.nat(7), (len, seed, where, bit) => {
      const file = fileOf(7, bytes(len, seed));
      // Half of the flips go into the header.
      const at = where % 2 === 0 ? where % headerBytes(len) : where % file.length;
      file[at] = (file[at] ?? 0) ^ (1 << bit);
      return isBad(() => decodeFile(7, file));
    }),
    { numRuns: 500 },
  );
});

test("any truncation of a chunk file, also to 0 bytes, and any extension is detected", async (t) => {
  fc.assert(
    fc.property(length, fc.nat(), fc.nat(), (len, seed, cut) => {
      const file = fileOf(7, bytes(len, seed));
      return isBad(() => decodeFile(7, file.subarray(0, cut % file.length)));
    }),
  );
  t.ok(isBad(() => decodeFile(7, Buffer.alloc(0))));
  t.ok(
    isBad(() => decodeFile(7, Buffer.alloc(5000))),
    "zeros, as some filesystems leave them after a power cut",
  );
  t.ok(isBad(() => decodeFile(7, Buffer.concat([fileOf(7, bytes(10, 1)), Buffer.alloc(1)]))));
});

test("a file under the name of another chunk is detected", async (t) => {
  t.ok(isBad(() => decodeFile(8, fileOf(7, bytes(10, 1)))));
});

test("the blocks of a range are verified, and bad bytes in them and only in them are found", async () => {
  fc.assert(
    fc.property(length, fc.nat(), fc.nat(), fc.nat(), (len, a, b, where) => {
      const data = bytes(len, a);
      const header = decodeHeader(fileOf(7, data));
      const range = { off: a % (len + 10), len: b % (len + 10), total: len };
      const { from, to } = blockSpan(range);
      const wanted = data.subarray(range.off, range.off + range.len);
      const covered = wanted.length === 0 ? from === to : from <= range.off && range.off + wanted.length <= to;
      verifyBlocks(header, data.subarray(from, to), from);
      if (len === 0 || from === to) return covered;
      const at = where % len;
      data[at] = (data[at] ?? 0) ^ 0x10;
      const isInside = at >= from && at < to;
      return covered && isInside === isBad(() => verifyBlocks(header, data.subarray(from, to), from));
    }),
  );
});

test("a span that was read short is bad, not silently shorter", async (t) => {
  const data = bytes(2 * BLOCK, 3);
  const header = decodeHeader(fileOf(7, data));
  t.ok(isBad(() => verifyBlocks(header, data.subarray(0, BLOCK + 10), 0)));
});

function isBad(fn: () => unknown): boolean {
  try {
    fn();
    return false;
  } catch (error) {
    if (error instanceof FsError && error.errno === "EBADMSG") return true;
    throw error;
  }
}
