import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { LIMITS } from "../../../proto/limits.js";
import { wantedOf } from "../rules/chunks.js";
import type { NodesView } from "./nodes-view.js";

/** Chunks that are remembered; of more than that only the fact that there are more. */
const CHUNKS_MAX = 100_000;

/**
 * queued: repair shall look at it. working: enough copies are assigned. stuck: nothing can be done at present, because
 * no copy can be read or no node can take one.
 */
interface Entry {
  readonly live: number;
  /** It has fewer live copies than wanted; otherwise some of them are on nodes that are drained. */
  readonly isShort: boolean;
  /** Some copy can be read, or will be soon, whether it counts or not. */
  readonly isReadable: boolean;
  readonly state: "queued" | "working" | "stuck";
}

/** Chunks that need more copies: with fewer live ones than wanted, not counting those on nodes that are drained. */
export class Shortage {
  readonly #entries = new Map<number, Entry>();
  /** Queued chunks by number of live copies: those with the fewest are the first. */
  readonly #queues = Array.from({ length: LIMITS.replicasMax + 1 }, () => new Set<number>());
  #short = 0;
  #isOverflowing = false;

  constructor(
    private readonly parts: {
      readonly nodes: Pick<NodesView, "isLive" | "isDraining" | "addressOf">;
      /** How many copies there shall be; a census follows a change of it. */
      readonly volume: { readonly replicas: number };
    },
  ) {}

  /** Chunks with fewer live copies than wanted. */
  get size(): number {
    return this.#short;
  }

  get isEmpty(): boolean {
    return this.#entries.size === 0;
  }

  /** Whether some were not remembered since the last clear(); a census finds them again. */
  get isOverflowing(): boolean {
    return this.#isOverflowing;
  }

  get hasQueued(): boolean {
    return this.#queues.some((queue) => queue.size > 0);
  }

  /** The chunk's row is this now. */
  follow(chunk: number, row: Readonly<ChunkRow> | undefined): void {
    const { live, staying, coming } = this.count(row);
    const wanted = row === undefined ? 0 : wantedOf(row, this.parts.volume);
    if (row === undefined || row.garbage || staying >= wanted) {
      this.#drop(chunk);
      return;
    }
    if (!this.#entries.has(chunk) && this.#entries.size >= CHUNKS_MAX) {
      this.#isOverflowing = true;
      return;
    }
    const { isLive, addressOf } = this.parts.nodes;
    const isReadable = row.replicas.some(
      ({ state, node }) => state === ReplicaState.AVAILABLE && (isLive(node) || addressOf(node) !== undefined),
    );
    const state = staying + coming >= wanted ? "working" : "queued";
    this.#put(chunk, { live, isShort: live < wanted, isReadable, state: isReadable ? state : "stuck" });
  }

  /** Copies on live nodes: readable ones, those of them on nodes that are not drained, and assigned ones there. */
  count(row: Readonly<ChunkRow> | undefined): { live: number; staying: number; coming: number } {
    const { isLive, isDraining } = this.parts.nodes;
    const on = (state: ReplicaState) => row?.replicas.filter((copy) => copy.state === state && isLive(copy.node)) ?? [];
    const isStaying = ({ node }: { readonly node: number }) => !isDraining(node);
    const live = on(ReplicaState.AVAILABLE);
    return {
      live: live.length,
      staying: live.filter(isStaying).length,
      coming: on(ReplicaState.PENDING).filter(isStaying).length,
    };
  }

  /** Takes up to `limit` from the queue, the most urgent first. Each must be followed or stuck afterwards. */
  take(limit: number): number[] {
    const taken: number[] = [];
    for (const queue of this.#queues) {
      for (const chunk of queue) {
        if (taken.length >= limit) return taken;
        taken.push(chunk);
        queue.delete(chunk);
      }
    }
    return taken;
  }

  /** Nothing can be done for it until something else changes. */
  stick(chunk: number): void {
    const entry = this.#entries.get(chunk);
    if (entry !== undefined) this.#put(chunk, { ...entry, state: "stuck" });
  }

  /** It is worth another try. */
  unstick(chunk: number): void {
    const entry = this.#entries.get(chunk);
    if (entry?.state === "stuck" && entry.isReadable) this.#put(chunk, { ...entry, state: "queued" });
  }

  /** Before a census, which follows every row. */
  clear(): void {
    this.#entries.clear();
    this.#short = 0;
    for (const queue of this.#queues) queue.clear();
    this.#isOverflowing = false;
  }

  #put(chunk: number, entry: Entry): void {
    this.#drop(chunk);
    this.#entries.set(chunk, entry);
    if (entry.isShort) this.#short++;
    if (entry.state === "queued") this.#queues[queueOf(entry)]?.add(chunk);
  }

  #drop(chunk: number): void {
    const before = this.#entries.get(chunk);
    if (before === undefined) return;
    if (before.isShort) this.#short--;
    this.#queues[queueOf(before)]?.delete(chunk);
    this.#entries.delete(chunk);
  }
}

function queueOf({ live }: Entry): number {
  return Math.min(live, LIMITS.replicasMax);
}
