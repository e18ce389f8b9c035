import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Executor } from "../executor.js";
import { wantedOf } from "../rules/chunks.js";
import type { ChunkChange } from "./changes.js";
import { pages } from "./pages.js";
import type { PendingCopies } from "./pending-copies.js";
import type { Rebalance } from "./rebalance.js";
import type { Retirement } from "./retirement.js";
import type { ServedTime } from "./served-time.js";
import type { Shortage } from "./shortage.js";
import type { SurplusCopies } from "./surplus.js";
import type { SyncRequests } from "./sync-requests.js";
import type { UnsyncedCopies } from "./unsynced-copies.js";

export interface CensusParts {
  readonly executor: Executor;
  readonly pending: PendingCopies;
  readonly shortage: Shortage;
  readonly surplus: Pick<SurplusCopies, "follow" | "clear">;
  readonly rebalance: Pick<Rebalance, "follow">;
  readonly retirement: Pick<Retirement, "forget">;
  readonly syncs: SyncRequests;
  readonly served: ServedTime;
  readonly unsynced: UnsyncedCopies;
  readonly volume: { readonly replicas: number };
}

export interface CensusOptions {
  /** A copy that its node has not called synced for so long is asked for. */
  readonly doubtMs: number;
}

/** Chunks that one census asks for. */
const DOUBTFUL_MAX = 10_000;

/**
 * How many chunks and copies there are, and which chunks lack copies or have too many: counted in a scan of all chunks now and then, and
 * kept up with every change in between.
 *
 * Nodes sync within seconds and say so. A copy of which that was not heard may not be there at all: it was listed by the
 * word of a primary, which may have been said, or said again, after the other node had lost it and told what it has.
 * Asked to sync it, the node says which of the two is true.
 */
export class Census {
  /** undefined: no scan has come to its end yet. */
  #counts: Counts | undefined;
  /** The same, as far as the running scan has come. */
  #scanned: { readonly counts: Counts; upTo: number } | undefined;
  #wantedMax = 0;

  constructor(
    private readonly parts: CensusParts,
    private readonly opts: CensusOptions,
  ) {}

  /** They were counted since the start. */
  get isDone(): boolean {
    return this.#counts !== undefined;
  }

  /** 0 until they were counted for the first time, as all that follows. */
  get chunks(): number {
    return this.#counts?.chunks ?? 0;
  }

  /** AVAILABLE copies. */
  get confirmed(): number {
    return this.#counts?.confirmed ?? 0;
  }

  /** Copies that are listed on the node, whatever their state. */
  copiesOn(node: number): number {
    return this.#counts?.on(node) ?? 0;
  }

  /** Copies that the chunk wants which wants the most. */
  get wantedMax(): number {
    return this.#wantedMax;
  }

  note({ chunk, before, after }: ChunkChange): void {
    this.#counts?.change(before, after);
    if (this.#scanned !== undefined && chunk <= this.#scanned.upTo) this.#scanned.counts.change(before, after);
    if (after !== undefined) this.#wantedMax = Math.max(this.#wantedMax, wantedOf(after, this.parts.volume));
    this.#follow(chunk, after);
  }

  /** Looks at every chunk. A scan that fails or is aborted leaves the counts as they are. */
  async take(signal: AbortSignal): Promise<void> {
    let doubtful = 0;
    let wantedMax = 0;
    const scanned = (this.#scanned = { counts: new Counts(), upTo: -1 });
    const { executor, shortage, syncs, served } = this.parts;
    const { value: before } = await executor.execute(0, (tx) => served.before(tx, this.opts.doubtMs));
    shortage.clear();
    this.parts.surplus.clear();
    for await (const rows of pages<"K">(executor, { from: "K", to: "L" }, signal)) {
      for (const { row } of rows) {
        wantedMax = Math.max(wantedMax, wantedOf(row, this.parts.volume));
        scanned.counts.change(undefined, row);
        scanned.upTo = row.id;
        this.#follow(row.id, row);
        if (isDoubtful(row, before) && ++doubtful <= DOUBTFUL_MAX) syncs.ask(row);
      }
      await this.parts.retirement.forget(rows.map(({ row }) => row));
    }
    if (signal.aborted) return;
    this.#wantedMax = wantedMax;
    this.#counts = scanned.counts;
    this.#scanned = undefined;
  }

  #follow(chunk: number, row: Readonly<ChunkRow> | undefined): void {
    this.parts.pending.follow(chunk, row);
    this.parts.shortage.follow(chunk, row);
    this.parts.surplus.follow(chunk, row);
    this.parts.rebalance.follow(chunk, row);
    this.parts.unsynced.follow(chunk, row);
  }
}

class Counts {
  chunks = 0;
  confirmed = 0;
  readonly #copies = new Map<number, number>();

  on(node: number): number {
    return this.#copies.get(node) ?? 0;
  }

  /** A row came, went or became another. */
  change(before: Readonly<ChunkRow> | undefined, after: Readonly<ChunkRow> | undefined): void {
    this.chunks += (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
    this.confirmed += confirmedOf(after) - confirmedOf(before);
    for (const { node } of before?.replicas ?? []) this.#copies.set(node, this.on(node) - 1);
    for (const { node } of after?.replicas ?? []) this.#copies.set(node, this.on(node) + 1);
  }
}

function confirmedOf(row: Readonly<ChunkRow> | undefined): number {
  return row?.replicas.filter((copy) => copy.state === ReplicaState.AVAILABLE).length ?? 0;
}

function isDoubtful(row: Readonly<ChunkRow>, before: number): boolean {
  if (row.garbage) return false;
  return row.replicas.some((copy) => copy.state === ReplicaState.AVAILABLE && !copy.synced && copy.since <= before);
}
