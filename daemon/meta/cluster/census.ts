import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Executor } from "../executor.js";
import type { ChunkChange } from "./changes.js";
import { pages } from "./pages.js";
import type { PendingCopies } from "./pending-copies.js";
import type { Shortage } from "./shortage.js";

export interface CensusParts {
  readonly executor: Executor;
  readonly pending: PendingCopies;
  readonly shortage: Shortage;
}

/**
 * How many chunks and copies there are, and which chunks lack copies: counted in a scan of all chunks now and then, and
 * kept up with every change in between.
 */
export class Census {
  #chunks = 0;
  #confirmed = 0;

  constructor(private readonly parts: CensusParts) {}

  get chunks(): number {
    return this.#chunks;
  }

  /** AVAILABLE copies. */
  get confirmed(): number {
    return this.#confirmed;
  }

  note({ chunk, before, after }: ChunkChange): void {
    this.#chunks += (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
    this.#confirmed += confirmedOf(after) - confirmedOf(before);
    this.#follow(chunk, after);
  }

  /** Looks at every chunk. A scan that fails or is aborted leaves the counts as they are. */
  async take(signal: AbortSignal): Promise<void> {
    let chunks = 0;
    let confirmed = 0;
    this.parts.shortage.clear();
    for await (const rows of pages<"K">(this.parts.executor, { from: "K", to: "L" }, signal)) {
      for (const { row } of rows) {
        chunks++;
        confirmed += confirmedOf(row);
        this.#follow(row.id, row);
      }
    }
    if (signal.aborted) return;
    this.#chunks = chunks;
    this.#confirmed = confirmed;
  }

  #follow(chunk: number, row: Readonly<ChunkRow> | undefined): void {
    this.parts.pending.follow(chunk, row);
    this.parts.shortage.follow(chunk, row);
  }
}

function confirmedOf(row: Readonly<ChunkRow> | undefined): number {
  return row?.replicas.filter((copy) => copy.state === ReplicaState.AVAILABLE).length ?? 0;
}
