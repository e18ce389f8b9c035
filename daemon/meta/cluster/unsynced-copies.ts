import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../../common/clock.js";

/** More are not followed; the next census finds them. */
const CHUNKS_MAX = 100_000;

/** Chunks with a copy that its node has not called fsynced, and since when that is known here; the oldest first. */
export class UnsyncedCopies {
  readonly #sinceMs = new Map<number, number>();

  constructor(private readonly clock: Pick<Clock, "monotonicMs">) {}

  get size(): number {
    return this.#sinceMs.size;
  }

  /** How long the oldest has been so. */
  get oldestMs(): number {
    for (const sinceMs of this.#sinceMs.values()) return this.clock.monotonicMs() - sinceMs;
    return 0;
  }

  /** The chunk's row is this now. */
  follow(chunk: number, row: Readonly<ChunkRow> | undefined): void {
    const isUnsynced = row?.replicas.some((copy) => copy.state === ReplicaState.AVAILABLE && !copy.synced) === true;
    if (!isUnsynced || row.garbage) this.#sinceMs.delete(chunk);
    else if (!this.#sinceMs.has(chunk) && this.#sinceMs.size < CHUNKS_MAX)
      this.#sinceMs.set(chunk, this.clock.monotonicMs());
  }
}
