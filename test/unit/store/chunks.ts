import { crc32 } from "node:zlib";
import pino from "pino";
import { ChunkStore, type NewChunk } from "../../../daemon/store/chunk-store.js";
import type { Disk } from "../../../daemon/store/disk.js";

export const silent = pino({ level: "silent" });

/** Bytes that belong to that id (and version) alone. */
export function dataOf(id: number, len: number, version = 0): Buffer {
  const data = Buffer.alloc(len);
  let state = Math.imul(id % 2 ** 31, 2654435761) + version * 97 + 1;
  for (let i = 0; i < len; i++) data[i] = (state = Math.imul(state, 1664525) + 1013904223) >>> 24;
  return data;
}

export function chunkOf(id: number, len: number, opts: { sync?: boolean; version?: number } = {}): NewChunk {
  const data = dataOf(id, len, opts.version);
  return { id, data, crc: crc32(data), sync: opts.sync ?? false };
}

export function openStore(disk: Disk, opts: { data?: string; capacity?: number; reserve?: number } = {}) {
  const clock = { now: () => ({ sec: 1_700_000_000, nsec: 0 }) };
  return ChunkStore.open({ disk, log: silent, clock }, { data: "/data", reserve: 0, ...opts });
}
