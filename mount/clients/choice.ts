import type { NodeInfo } from "../../proto/gen/bigfs/v1/node.js";

/** What is known about a node here, beside the map. */
export interface NodeNews {
  /** It failed lately. */
  readonly isBad: boolean;
  /** It is on another machine, as far as that is known: others are on this one, or shall be asked. */
  readonly isRemote: boolean;
  readonly inFlight: number;
}

const STATES = ["UP", "DRAINING", "JOINING", "SUSPECT", "DOWN", "RETIRED"];

/**
 * The nodes in the order in which to ask them for a chunk: those that did not fail lately first, then by state, then this
 * machine, the own zone, the least busy one. Equals take turns by chunk, so that the readers of different chunks spread.
 */
export function order(
  nodes: readonly NodeInfo[],
  chunk: number,
  opts: { readonly zone: string; readonly news: (node: NodeInfo) => NodeNews },
): NodeInfo[] {
  const ranked = nodes.map((node, index) => {
    const { isBad, isRemote, inFlight } = opts.news(node);
    const turn = (index + chunk) % nodes.length;
    const state = STATES.indexOf(node.state);
    return {
      node,
      rank: [
        isBad ? 1 : 0,
        state < 0 ? STATES.length : state,
        isRemote ? 1 : 0,
        node.zone === opts.zone ? 0 : 1,
        inFlight,
        turn,
      ],
    };
  });
  return ranked.sort((a, b) => compare(a.rank, b.rank)).map(({ node }) => node);
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
