import type { NodeMap } from "../../../proto/gen/bigfs/v1/node.js";
import { place } from "../../../daemon/common/placement.js";

/**
 * Which nodes to keep away from while one piece of data is being stored. A failed put does not say whose fault it was,
 * so everybody who took part is blamed, the primary most; the most blamed are left out as far as enough others remain.
 */
export class Blame {
  readonly #blame = new Map<number, number>();

  add(nodes: readonly number[]): void {
    nodes.forEach((node, i) => this.#blame.set(node, (this.#blame.get(node) ?? 0) + (i === 0 ? 1.5 : 1)));
  }

  /** Nodes for the chunk; at least `leave` nodes stay to choose from as long as there are so many. */
  choose(chunk: number, map: NodeMap, replicas: number, leave: number): number[] {
    const up = map.nodes.filter((node) => node.state === "UP").map((node) => node.id);
    const blamed = up
      .filter((node) => this.#blame.has(node))
      .sort((a, b) => (this.#blame.get(b) ?? 0) - (this.#blame.get(a) ?? 0));
    const exclude = new Set(blamed.slice(0, Math.max(0, up.length - leave)));
    return place(chunk, map, replicas, { exclude });
  }
}
