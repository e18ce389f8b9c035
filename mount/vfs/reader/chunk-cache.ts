import { LRUCache } from "lru-cache";
import { FsError } from "../../../proto/errno.js";
import type { ChunkPlace } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Clock } from "../../../daemon/common/clock.js";
import type { ChunkClient } from "../ports.js";
import { within } from "../waiting.js";

/** Parts of chunks are fetched in units of this: the span of a checksum on the nodes. */
const BLOCK = 64 * 1024;

/**
 * Bytes of chunks, which never change: whole chunks, or single blocks of 64 KiB where somebody reads here and there.
 * The same bytes are fetched once however many ask for them.
 *
 * Chunks that were fetched ahead are kept apart until somebody reads them: among the others, what was read already would
 * push out what is about to be read.
 */
export class ChunkCache {
  readonly #ahead: LRUCache<number, Buffer>;
  readonly #whole: LRUCache<number, Buffer>;
  readonly #blocks: LRUCache<string, Buffer>;
  readonly #fetching = new Map<string, Promise<Buffer>>();

  /** Half of the memory is for what was fetched ahead, a quarter for chunks, a quarter for blocks. */
  constructor(
    private readonly parts: { readonly chunks: ChunkClient; readonly clock: Clock },
    private readonly opts: { readonly cacheBytes: number; /** For one node. */ readonly tryMs: number },
  ) {
    const sizeCalculation = (bytes: Buffer): number => Math.max(1, bytes.length);
    const maxSize = Math.max(1, Math.floor(opts.cacheBytes / 4));
    this.#ahead = new LRUCache({ maxSize: 2 * maxSize, sizeCalculation });
    this.#whole = new LRUCache({ maxSize, sizeCalculation });
    this.#blocks = new LRUCache({ maxSize, sizeCalculation });
  }

  get bytes(): number {
    return this.#ahead.calculatedSize + this.#whole.calculatedSize + this.#blocks.calculatedSize;
  }

  /** Whether a whole chunk of this length can be kept at all. */
  canKeep(len: number): boolean {
    return len <= this.#whole.maxSize;
  }

  has(chunk: number): boolean {
    return this.#whole.has(chunk) || this.#ahead.has(chunk);
  }

  /** Bytes off..off+len if they are at hand. */
  peek(chunk: number, off: number, len: number): Buffer | undefined {
    const whole = this.#whole.get(chunk) ?? this.#wasAhead(chunk);
    if (whole !== undefined) return whole.length >= off + len ? whole.subarray(off, off + len) : undefined;
    const block = Math.floor(off / BLOCK);
    if (off + len > (block + 1) * BLOCK) return undefined;
    const bytes = this.#blocks.get(`${chunk}/${block}`);
    const start = off - block * BLOCK;
    return bytes !== undefined && bytes.length >= start + len ? bytes.subarray(start, start + len) : undefined;
  }

  /** Fetches a chunk that somebody will probably read. */
  async loadAhead(place: ChunkPlace): Promise<void> {
    const bytes = await this.#fetch(place, 0, place.len);
    if (!this.#whole.has(place.chunk)) this.#ahead.set(place.chunk, bytes);
  }

  /** Bytes off..off+len; the whole chunk is fetched and kept when `whole`. EBADMSG when the chunk is shorter. */
  async load(place: ChunkPlace, off: number, len: number, whole: boolean): Promise<Buffer> {
    const known = this.peek(place.chunk, off, len);
    if (known !== undefined) return known;
    if ((whole || place.len <= BLOCK) && this.canKeep(place.len)) {
      const bytes = await this.#fetch(place, 0, place.len);
      this.#ahead.delete(place.chunk);
      this.#whole.set(place.chunk, bytes);
      return part(place, bytes, off, len);
    }
    const first = Math.floor(off / BLOCK);
    const last = Math.floor((off + len - 1) / BLOCK);
    const start = first * BLOCK;
    const kept = this.#joined(place.chunk, first, last);
    if (kept !== undefined) return part(place, kept, off - start, len);
    const bytes = await this.#fetch(place, start, Math.min(place.len, (last + 1) * BLOCK) - start);
    for (let block = first; block <= last; block++) {
      const from = (block - first) * BLOCK;
      this.#blocks.set(`${place.chunk}/${block}`, Buffer.from(bytes.subarray(from, from + BLOCK)));
    }
    return part(place, bytes, off - start, len);
  }

  /** A chunk that was fetched ahead and is read now. */
  #wasAhead(chunk: number): Buffer | undefined {
    const bytes = this.#ahead.get(chunk);
    if (bytes === undefined) return undefined;
    this.#ahead.delete(chunk);
    this.#whole.set(chunk, bytes);
    return bytes;
  }

  /** Blocks first..last in one piece if all are kept. */
  #joined(chunk: number, first: number, last: number): Buffer | undefined {
    const blocks: Buffer[] = [];
    for (let block = first; block <= last; block++) {
      const bytes = this.#blocks.get(`${chunk}/${block}`);
      if (bytes === undefined) return undefined;
      blocks.push(bytes);
    }
    return Buffer.concat(blocks);
  }

  #fetch(place: ChunkPlace, off: number, len: number): Promise<Buffer> {
    const key = `${place.chunk}/${off}/${len}`;
    const running = this.#fetching.get(key);
    if (running !== undefined) return running;
    const fetch = this.#get(place, off, len).finally(() => this.#fetching.delete(key));
    this.#fetching.set(key, fetch);
    return fetch;
  }

  async #get(place: ChunkPlace, off: number, len: number): Promise<Buffer> {
    if (place.nodes.length === 0) throw new FsError("EIO", `no node has chunk ${place.chunk} now`);
    const { chunks, clock } = this.parts;
    const got = chunks.get({ id: place.chunk, size: place.len, off, len, nodes: place.nodes });
    const bytes = await within(clock, this.opts.tryMs * (place.nodes.length + 1), got);
    if (bytes.length !== len) throw new FsError("EBADMSG", `chunk ${place.chunk} is shorter than recorded`);
    return owned(bytes);
  }
}

/** A small part of a big buffer would keep all of it in memory. */
function owned(bytes: Buffer): Buffer {
  return bytes.buffer.byteLength > 2 * bytes.length + 4096 ? Buffer.from(bytes) : bytes;
}

function part(place: ChunkPlace, bytes: Buffer, off: number, len: number): Buffer {
  if (off + len > bytes.length) throw new FsError("EBADMSG", `chunk ${place.chunk} is shorter than its slices`);
  return bytes.subarray(off, off + len);
}
