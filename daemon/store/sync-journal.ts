/**
 * The record of what is fsynced: after an unclean stop every chunk that is not in it is verified before it is reported.
 * Records of 24 bytes are only appended; the file is written anew at each start. A record may be lost with the power
 * (it is not fsynced), which costs a verification; it is never there before the fsyncs that it tells of.
 *
 *     0  u64 chunk id
 *     8  u32 bytes of data
 *    12  u32 crc32 of the data
 *    16  u32 1: fsynced, 2: gone
 *    20  u32 crc32 of the record up to here
 */
import { crc32 } from "node:zlib";
import type { Logger } from "pino";
import { writeDurably } from "../common/durable.js";
import { codeOf, diskError, type Disk } from "./disk.js";

export interface SyncedChunk {
  readonly id: number;
  readonly len: number;
  readonly crc: number;
}

const RECORD = 24;
const SYNCED = 1;
const GONE = 2;
/** Bytes read at once. */
const PAGE = RECORD * 65_536;

export class SyncJournal {
  #tail: Promise<void> = Promise.resolve();
  /** The end of the file may be half a record (of a crash, or of an append that failed): nothing more may follow it. */
  #isBroken = false;

  constructor(
    private readonly parts: { readonly disk: Disk; readonly log: Logger },
    private readonly path: string,
  ) {}

  /** Calls back for each record in order, up to the first that is not whole. */
  async read(found: (chunk: SyncedChunk, isGone: boolean) => void): Promise<void> {
    for (let off = 0; ; off += PAGE) {
      const page = await this.#page(off);
      for (let at = 0; at + RECORD <= page.length; at += RECORD) {
        const record = page.subarray(at, at + RECORD);
        if (crc32(record.subarray(0, 20)) !== record.readUInt32LE(20)) return;
        const chunk = {
          id: Number(record.readBigUInt64LE(0)),
          len: record.readUInt32LE(8),
          crc: record.readUInt32LE(12),
        };
        found(chunk, record.readUInt32LE(16) === GONE);
      }
      if (page.length < PAGE) return;
    }
  }

  /** Replaces the whole record, unless the disk is full: then the old one, which still holds, stays and is all there is. */
  async rewrite(chunks: readonly SyncedChunk[]): Promise<void> {
    try {
      await writeDurably(this.path, encode(chunks, SYNCED), { disk: this.parts.disk });
      this.#isBroken = false;
    } catch (error) {
      // The node must start all the same: only so can its chunks be read, and removed.
      if (diskError(error, this.path).errno !== "ENOSPC") throw error;
      this.#isBroken = true;
      this.parts.log.warn({ err: error, path: this.path }, "chunks synced from now on are verified after a crash");
    }
  }

  /** Never rejects: what cannot be recorded is verified again after an unclean stop. */
  synced(chunks: readonly SyncedChunk[]): Promise<void> {
    return this.#append(encode(chunks, SYNCED));
  }

  /** Never rejects: the file is gone anyway. */
  gone(chunks: readonly SyncedChunk[]): Promise<void> {
    return this.#append(encode(chunks, GONE));
  }

  #append(records: Buffer): Promise<void> {
    this.#tail = this.#tail.then(async () => {
      if (this.#isBroken) return;
      try {
        await this.parts.disk.append(this.path, records);
      } catch (error) {
        this.#isBroken = true;
        this.parts.log.warn({ err: error, path: this.path }, "chunks synced from now on are verified after a crash");
      }
    });
    return this.#tail;
  }

  async #page(off: number): Promise<Buffer> {
    try {
      const [page] = await this.parts.disk.read(this.path, [{ off, len: PAGE }]);
      return page ?? Buffer.alloc(0);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return Buffer.alloc(0);
      throw error;
    }
  }
}

function encode(chunks: readonly SyncedChunk[], kind: number): Buffer {
  const bytes = Buffer.alloc(chunks.length * RECORD);
  chunks.forEach((chunk, i) => {
    const record = bytes.subarray(i * RECORD, (i + 1) * RECORD);
    record.writeBigUInt64LE(BigInt(chunk.id), 0);
    record.writeUInt32LE(chunk.len, 8);
    record.writeUInt32LE(chunk.crc, 12);
    record.writeUInt32LE(kind, 16);
    record.writeUInt32LE(crc32(record.subarray(0, 20)), 20);
  });
  return bytes;
}
