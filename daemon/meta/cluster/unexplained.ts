import type { StoredChunk } from "../../../proto/gen/bigfs/v1/node.js";

/** So many are remembered; the rest comes with the next inventory. */
const MAX = 100_000;

/**
 * Chunks that nodes hold and nobody has registered, whose session lives: decided upon when it has ended. Lost with the
 * daemon; the nodes say it again when they join.
 */
export class Unexplained {
  readonly #held = new Map<string, { readonly node: number; readonly stored: StoredChunk }>();

  add(node: number, stored: StoredChunk): void {
    if (this.#held.size < MAX) this.#held.set(`${node}:${stored.chunk}`, { node, stored });
  }

  /** All of them by node; they are forgotten here. */
  take(): Map<number, StoredChunk[]> {
    const byNode = new Map<number, StoredChunk[]>();
    for (const { node, stored } of this.#held.values()) {
      const ofNode = byNode.get(node);
      if (ofNode === undefined) byNode.set(node, [stored]);
      else ofNode.push(stored);
    }
    this.#held.clear();
    return byNode;
  }
}
