import type { StoredChunk } from "../../../proto/gen/bigfs/v1/node.js";

export interface EarlyWord {
  readonly node: number;
  /** Undefined: it only said that the chunk is synced. */
  readonly stored: Pick<StoredChunk, "len" | "crc"> | undefined;
  readonly synced: boolean;
}

/** So many chunks are remembered; then the oldest are forgotten, and repair or a sync brings their word again. */
const CHUNKS_MAX = 10_000;

/** What nodes said of chunks before their primary registered them: the streams of two nodes have no common order. */
export class EarlyWords {
  readonly #words = new Map<number, Map<number, EarlyWord>>();

  add(chunk: number, word: EarlyWord): void {
    const words = this.#words.get(chunk) ?? new Map<number, EarlyWord>();
    const before = words.get(word.node);
    words.set(word.node, {
      node: word.node,
      stored: word.stored ?? before?.stored,
      synced: word.synced || before?.synced === true,
    });
    this.#words.set(chunk, words);
    if (this.#words.size <= CHUNKS_MAX) return;
    for (const oldest of this.#words.keys()) {
      this.#words.delete(oldest);
      break;
    }
  }

  of(chunk: number): readonly EarlyWord[] {
    return [...(this.#words.get(chunk)?.values() ?? [])];
  }

  forget(chunk: number): void {
    this.#words.delete(chunk);
  }

  /** That node has it no more. */
  retract(chunk: number, node: number): void {
    this.#words.get(chunk)?.delete(node);
  }

  forgetNode(node: number): void {
    for (const words of this.#words.values()) words.delete(node);
  }
}
