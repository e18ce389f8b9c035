/**
 * A chunk file: a header, then the bytes of the chunk. All numbers little-endian.
 *
 *     0  magic "BFSCHUNK"
 *     8  u32 format version, 1
 *    12  u32 bytes of the header
 *    16  u64 chunk id
 *    24  u32 bytes of data
 *    28  u32 crc32 of all data
 *    32  u32 crc32 of each 64 KiB block of data
 *   ...  u32 crc32 of the header up to here
 *
 * The header is covered by its own checksum, every byte of data by that of its block, and the file's size by the length,
 * so that no flipped bit and no truncation goes unseen by who reads the bytes that it touches.
 */
import { crc32 } from "node:zlib";
import { fail } from "../../../proto/errno.js";
import { combined, shiftOf } from "./crc-combine.js";

/** Data is verified in units of this many bytes. */
export const BLOCK = 64 * 1024;

const MAGIC = Buffer.from("BFSCHUNK", "latin1");
const VERSION = 1;
const FIXED = 32;

export interface ChunkHeader {
  readonly id: number;
  /** Bytes of data. */
  readonly len: number;
  /** crc32 of all data. */
  readonly crc: number;
  /** crc32 of each block; the last block may be short. */
  readonly blocks: readonly number[];
}

/** Bytes of the header of a chunk of `len` bytes; its data starts there. */
export function headerBytes(len: number): number {
  return FIXED + 4 * Math.ceil(len / BLOCK) + 4;
}

/** Bytes of the file of a chunk of `len` bytes. */
export function fileBytes(len: number): number {
  return headerBytes(len) + len;
}

const BLOCK_SHIFT = shiftOf(BLOCK);

/** crc32 of each block of a chunk's bytes. */
export function blockCrcs(data: Buffer): number[] {
  const crcs: number[] = [];
  for (let from = 0; from < data.length; from += BLOCK) crcs.push(crc32(data.subarray(from, from + BLOCK)));
  return crcs;
}

/** crc32 of all data of a chunk of `len` bytes, from those of its blocks. */
export function wholeCrc(blocks: readonly number[], len: number): number {
  const tail = len % BLOCK;
  return blocks.reduce(
    (crc, block, i) => combined(crc, block, tail !== 0 && i === blocks.length - 1 ? shiftOf(tail) : BLOCK_SHIFT),
    0,
  );
}

/** The header as it stands in the file. */
export function encodeHeader({ id, len, crc, blocks }: ChunkHeader): Buffer {
  const header = Buffer.alloc(headerBytes(len));
  MAGIC.copy(header);
  header.writeUInt32LE(VERSION, 8);
  header.writeUInt32LE(header.length, 12);
  header.writeBigUInt64LE(BigInt(id), 16);
  header.writeUInt32LE(len, 24);
  header.writeUInt32LE(crc, 28);
  blocks.forEach((block, i) => header.writeUInt32LE(block, FIXED + 4 * i));
  header.writeUInt32LE(crc32(header.subarray(0, -4)), header.length - 4);
  return header;
}

/** The header that a file starts with; `bytes` may hold more than it. EBADMSG when it is not whole and right. */
export function decodeHeader(bytes: Buffer): ChunkHeader {
  if (bytes.length < FIXED || !bytes.subarray(0, 8).equals(MAGIC)) fail("EBADMSG", "not a chunk file");
  const size = bytes.readUInt32LE(12);
  const len = bytes.readUInt32LE(24);
  if (size !== headerBytes(len) || bytes.length < size) fail("EBADMSG", "the header is cut or damaged");
  const header = bytes.subarray(0, size);
  if (crc32(header.subarray(0, -4)) !== header.readUInt32LE(size - 4)) fail("EBADMSG", "bad checksum of the header");
  const version = header.readUInt32LE(8);
  if (version !== VERSION) fail("EBADMSG", `format version ${version}, this build knows ${VERSION}`);
  const blocks: number[] = [];
  for (let at = FIXED; at < size - 4; at += 4) blocks.push(header.readUInt32LE(at));
  return { id: Number(header.readBigUInt64LE(16)), len, crc: header.readUInt32LE(28), blocks };
}

/** Where whole blocks start and end in a chunk's data. */
export interface BlockSpan {
  readonly from: number;
  readonly to: number;
}

/** The whole blocks that cover bytes off..off+len of a chunk of `total` bytes: where they start and end in its data. */
export function blockSpan(range: { off: number; len: number; total: number }): BlockSpan {
  const end = Math.min(range.off + range.len, range.total);
  if (range.off >= end) return { from: 0, to: 0 };
  return { from: Math.floor(range.off / BLOCK) * BLOCK, to: Math.min(Math.ceil(end / BLOCK) * BLOCK, range.total) };
}

/** EBADMSG unless `data` is right. It is the chunk's bytes from `from` (where a block starts) to the end of a block. */
export function verifyBlocks(header: ChunkHeader, data: Buffer, from: number): void {
  for (let at = 0; at < data.length; at += BLOCK) {
    const index = (from + at) / BLOCK;
    const block = data.subarray(at, at + BLOCK);
    const whole = Math.min(BLOCK, header.len - index * BLOCK);
    if (block.length !== whole || crc32(block) !== header.blocks[index]) {
      fail("EBADMSG", `bad checksum in the block at ${index * BLOCK}`);
    }
  }
}

/** A whole chunk file as header and data (a view); EBADMSG when any byte of it is not as it was written. */
export function decodeFile(id: number, file: Buffer): { header: ChunkHeader; data: Buffer } {
  const header = decodeHeader(file);
  if (header.id !== id) fail("EBADMSG", `the file holds chunk ${header.id}`);
  if (file.length !== fileBytes(header.len)) fail("EBADMSG", `${file.length} bytes, not ${fileBytes(header.len)}`);
  const data = file.subarray(headerBytes(header.len));
  verifyBlocks(header, data, 0);
  return { header, data };
}
