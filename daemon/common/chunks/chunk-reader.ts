import { fail } from "../../../proto/errno.js";
import * as format from "./chunk-format.js";
import { OpenChunks, type OpenChunk } from "./open-chunks.js";
import type { OpenFile } from "./open-file.js";

/** What is known of a chunk before its file is looked at. */
export interface KnownChunk {
  readonly id: number;
  /** Bytes of data. */
  readonly len: number;
  /** crc32 of all data; undefined: not known. */
  readonly crc?: number;
}

/** Bytes of chunk files, verified. Files that are read in parts stay open for a while. */
export class ChunkReader {
  readonly #opened: OpenChunks;

  /** `filesMax`: files that stay open when nobody reads them. */
  constructor(
    private readonly open: (id: number) => Promise<OpenFile>,
    filesMax: number,
  ) {
    this.#opened = new OpenChunks(filesMax);
  }

  /** Bytes off..off+len, fewer at the end of the chunk. EBADMSG when the file does not hold them, and errors of `open`. */
  async read(chunk: KnownChunk, off: number, len: number): Promise<Buffer> {
    const span = format.blockSpan({ off, len, total: chunk.len });
    const { from, to } = span;
    const isWhole = from === 0 && to === chunk.len;
    const data = await (isWhole ? this.#readWhole(chunk) : this.#readSpan(chunk, span));
    return off >= to ? Buffer.alloc(0) : data.subarray(off - from, off - from + len);
  }

  /** The chunk is no longer there: an open file would keep its space. */
  forget(id: number): void {
    this.#opened.forget(id);
  }

  /** Closes what nobody has read since the last time. True: some files are still open. */
  sweep(): boolean {
    return this.#opened.sweep();
  }

  close(): void {
    this.#opened.close();
  }

  /** All data in one run with its header. */
  async #readWhole(chunk: KnownChunk): Promise<Buffer> {
    const file = await this.open(chunk.id);
    try {
      const bytes = await file.read({ off: 0, len: format.fileBytes(chunk.len) });
      const data = bytes.subarray(format.headerBytes(chunk.len));
      return verified(headerOf(chunk, bytes), data, { from: 0, to: chunk.len });
    } finally {
      file.close();
    }
  }

  #readSpan(chunk: KnownChunk, span: format.BlockSpan): Promise<Buffer> {
    const start = format.headerBytes(chunk.len);
    return this.#opened.use(
      chunk.id,
      () => this.#openChunk(chunk),
      async ({ file, header }) => {
        const read = file.read({ off: start + span.from, len: span.to - span.from });
        // The file is in use until both have ended.
        await Promise.allSettled([header, read]);
        return verified(await header, await read, span);
      },
    );
  }

  async #openChunk(chunk: KnownChunk): Promise<OpenChunk> {
    const file = await this.open(chunk.id);
    const head = file.read({ off: 0, len: format.headerBytes(chunk.len) });
    return { file, header: head.then((bytes) => headerOf(chunk, bytes)) };
  }
}

function headerOf(chunk: KnownChunk, bytes: Buffer): format.ChunkHeader {
  const header = format.decodeHeader(bytes);
  if (header.id !== chunk.id || header.len !== chunk.len) fail("EBADMSG", `the file holds chunk ${header.id}`);
  if (chunk.crc !== undefined && header.crc !== chunk.crc) fail("EBADMSG", "other bytes than were stored");
  return header;
}

function verified(header: format.ChunkHeader, data: Buffer, { from, to }: format.BlockSpan): Buffer {
  if (data.length !== to - from) fail("EBADMSG", "the file is cut");
  format.verifyBlocks(header, data, from);
  return data;
}
