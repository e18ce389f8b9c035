import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { LIMITS } from "../../../proto/limits.js";

/** Chunks that are remembered; of more than that only the fact that there are more. */
const CHUNKS_MAX = 100_000;

/**
 * queued: repair shall look at it. working: enough copies are assigned. stuck: nothing can be done at present, because
 * no copy can be read or no node can take one.
 */
type Entry = { readonly live: number; readonly isReadable: boolean; readonly state: "queued" | "working" | "stuck" };

/** Chunks with fewer live copies than wanted, those with the fewest first. */
export class Shortage {
  readonly #entries = new Map<number, Entry>();
  /** Queued chunks by number of live copies. */
  readonly #queues = Array.from({ length: LIMITS.replicasMax }, () => new Set<number>());
  #isOverflowing = false;

  constructor(
    private readonly parts: {
      /** Its copies count. */
      readonly isLive: (node: number) => boolean;
      /** Its copies can be read, or will be soon, whether they count or not. */
      readonly isReadable: (node: number) => boolean;
      /** How many copies there shall be; a census follows a change of it. */
      readonly volume: { readonly replicas: number };
    },
  ) {}

  get size(): number {
    return this.#entries.size;
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
    const { live, coming } = this.count(row);
    if (row === undefined || row.garbage || live >= this.parts.volume.replicas) {
      this.#drop(chunk);
      return;
    }
    if (!this.#entries.has(chunk) && this.#entries.size >= CHUNKS_MAX) {
      this.#isOverflowing = true;
      return;
    }
    const isReadable = row.replicas.some(
      (copy) => copy.state === ReplicaState.AVAILABLE && this.parts.isReadable(copy.node),
    );
    const state = live + coming >= this.parts.volume.replicas ? "working" : "queued";
    this.#put(chunk, { live, isReadable, state: isReadable ? state : "stuck" });
  }

  /** Copies on live nodes: readable ones, and assigned ones. */
  count(row: Readonly<ChunkRow> | undefined): { live: number; coming: number } {
    const on = (state: ReplicaState) =>
      row?.replicas.filter((copy) => copy.state === state && this.parts.isLive(copy.node)).length ?? 0;
    return { live: on(ReplicaState.AVAILABLE), coming: on(ReplicaState.PENDING) };
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
    for (const queue of this.#queues) queue.clear();
    this.#isOverflowing = false;
  }

  #put(chunk: number, entry: Entry): void {
    this.#drop(chunk);
    this.#entries.set(chunk, entry);
    if (entry.state === "queued") this.#queues[entry.live]?.add(chunk);
  }

  #drop(chunk: number): void {
    const before = this.#entries.get(chunk);
    if (before === undefined) return;
    this.#queues[before.live]?.delete(chunk);
    this.#entries.delete(chunk);
  }
}
