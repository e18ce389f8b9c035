import { LRUCache } from "lru-cache";
import type { ChunkHeader } from "./chunk-format.js";
import type { OpenFile } from "./open-file.js";

export interface OpenChunk {
  readonly file: OpenFile;
  /** On its way, so that the first bytes can be read at the same time. */
  readonly header: Promise<ChunkHeader>;
}

interface Held extends OpenChunk {
  users: number;
  /** Used since the last sweep. */
  isFresh: boolean;
  isDropped: boolean;
}

/** Chunk files that stay open, with their headers, for who reads here and there: opening costs more than reading. */
export class OpenChunks {
  readonly #held: LRUCache<number, Held>;
  #isClosed = false;

  /** `max`: files that are open and not in use. */
  constructor(max: number) {
    this.#held = new LRUCache({
      max,
      dispose: (held) => {
        held.isDropped = true;
        this.#closeUnused(held);
      },
    });
  }

  /** Uses the open file; `open` is asked for one that is not. After an error it is opened anew. */
  async use<T>(id: number, open: () => Promise<OpenChunk>, read: (chunk: OpenChunk) => Promise<T>): Promise<T> {
    const held = this.#held.get(id) ?? this.#hold(id, await open());
    held.users++;
    held.isFresh = true;
    try {
      return await read(held);
    } catch (error) {
      if (this.#held.peek(id) === held) this.#held.delete(id);
      throw error;
    } finally {
      held.users--;
      this.#closeUnused(held);
    }
  }

  /** The chunk is no longer here: an open file would keep its space. */
  forget(id: number): void {
    this.#held.delete(id);
  }

  /** Closes what nobody has used since the last time. True: some are still open. */
  sweep(): boolean {
    for (const [id, held] of [...this.#held.entries()]) {
      if (!held.isFresh) this.#held.delete(id);
      held.isFresh = false;
    }
    return this.#held.size > 0;
  }

  /** What is in use, or just being opened, is closed after that. */
  close(): void {
    this.#isClosed = true;
    this.#held.clear();
  }

  #hold(id: number, { file, header }: OpenChunk): Held {
    const held: Held = { file, header, users: 0, isFresh: true, isDropped: this.#isClosed };
    if (!this.#isClosed) this.#held.set(id, held);
    return held;
  }

  #closeUnused(held: Held): void {
    if (held.isDropped && held.users === 0) held.file.close();
  }
}
