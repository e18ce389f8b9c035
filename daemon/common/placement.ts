import type { NodeInfo, NodeMap } from "../../proto/gen/bigfs/v1/node.js";

export interface PlaceOptions {
  /** Nodes that must not be chosen (they failed, say). */
  readonly exclude?: ReadonlySet<number>;
  /** Nodes that hold a copy already: not chosen again, and their zones count as used. */
  readonly hold?: ReadonlySet<number>;
}

/**
 * The nodes that shall get `copies` copies of a chunk, the primary first; fewer when there are not so many. Only nodes
 * that are UP. Depends on nothing but the arguments, so that every process that has the same map chooses the same.
 *
 * Weighted rendezvous hashing (Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005): every node draws
 * -weight / ln(h(chunk, node)) and the highest win, so a node gets its share by weight, and one that leaves or comes
 * moves only what it lost or won. Zones with the fewest copies go first, hence all copies are in different zones when
 * there are enough of them; within them hosts with the fewest, which several disks of one daemon have in common.
 */
export function place(chunk: number, map: NodeMap, copies: number, opts: PlaceOptions = {}): number[] {
  /** Copies in each zone and on each host. */
  const crowds = new Map<string, number>();
  for (const node of map.nodes) if (opts.hold?.has(node.id) === true) enter(node);
  const rest = map.nodes
    .filter((n) => n.state === "UP" && opts.hold?.has(n.id) !== true && opts.exclude?.has(n.id) !== true)
    .map((node) => ({ node, score: score(chunk, node) }))
    .sort((a, b) => b.score - a.score || a.node.id - b.node.id);
  const chosen: number[] = [];
  while (chosen.length < copies && rest.length > 0) {
    let best = 0;
    for (let i = 1; i < rest.length; i++) {
      if (crowd(rest[i]) < crowd(rest[best])) best = i;
    }
    const [taken] = rest.splice(best, 1);
    if (taken === undefined) break;
    enter(taken.node);
    chosen.push(taken.node.id);
  }
  return chosen;

  function enter(node: NodeInfo): void {
    for (const where of [`zone ${node.zone}`, `host ${hostOf(node)}`]) crowds.set(where, (crowds.get(where) ?? 0) + 1);
  }

  /** Zones first, then hosts. */
  function crowd(candidate: { node: NodeInfo } | undefined): number {
    if (candidate === undefined) return Infinity;
    const inZone = crowds.get(`zone ${candidate.node.zone}`) ?? 0;
    return inZone * HOSTS_MAX + (crowds.get(`host ${hostOf(candidate.node)}`) ?? 0);
  }
}

/** More copies than a host can have. */
const HOSTS_MAX = 1024;

function hostOf({ address }: NodeInfo): string {
  return address.slice(0, address.lastIndexOf(":"));
}

function score(chunk: number, node: NodeInfo): number {
  return -node.weight / Math.log(fraction(chunk, node.id));
}

/** A number strictly between 0 and 1 that looks random, from two ids below 2^53. */
function fraction(chunk: number, node: number): number {
  let a = mix(0x9e3779b9 ^ (chunk >>> 0));
  a = mix(a ^ Math.floor(chunk / 2 ** 32));
  a = mix(a ^ (node >>> 0));
  a = mix(a ^ Math.floor(node / 2 ** 32));
  const b = mix(a ^ 0x85ebca6b);
  return ((a >>> 0) * 2 ** 20 + (b >>> 12) + 0.5) / 2 ** 52;
}

/** A bijection of 32-bit words in which every bit depends on every other ("lowbias32", Ellis 2018). */
function mix(word: number): number {
  let x = word >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}
