/**
 * Moves copies to nodes that have less than their share of what is stored, a new empty one say, and apart when they share
 * a zone without need.
 *
 * Invariants:
 * - A move is a PENDING copy in a durable row before its node is told to make it; it replaces another only by what
 *   surplus.ts does with it when it stands.
 * - At most IN_FLIGHT copies are on their way, and so many begin in one pass at most.
 * - Nothing moves while chunks lack copies.
 */
import { FsError } from "../../../proto/errno.js";
import type { ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../../common/clock.js";
import type { Executor } from "../executor.js";
import { key } from "../keys.js";
import { wantedOf } from "../rules/chunks.js";
import type { ChunkChanges } from "./changes.js";
import type { ClusterMetrics } from "./cluster-metrics.js";
import type { Membership } from "./membership.js";
import type { NodesView } from "./nodes-view.js";
import { pages } from "./pages.js";
import { type Imbalance, type Load, type Move, apartOf, beginMove, imbalanceOf, moveOf } from "./rebalance-plan.js";
import type { Repair } from "./repair.js";
import type { Shortage } from "./shortage.js";

export interface RebalanceParts {
  readonly executor: Executor;
  readonly changes: ChunkChanges;
  readonly membership: Membership;
  readonly repair: Pick<Repair, "order">;
  readonly shortage: Pick<Shortage, "isEmpty">;
  readonly metrics: ClusterMetrics;
  readonly clock: Clock;
  readonly nodes: NodesView;
  readonly volume: {
    readonly replicas: number;
    readonly chunkSize: number;
    readonly noRebalance?: boolean | undefined;
  };
}

export interface RebalanceOptions {
  /** A move that has not come to its end by then is not counted on any more. */
  readonly moveMs: number;
  /** After a move that failed none begins for so long. */
  readonly pauseMs: number;
  /** After a look at all chunks of which none could move, the next comes so much later. */
  readonly restMs: number;
}

interface Moving extends Move {
  readonly bytes: number;
  readonly untilMs: number;
  /** It has come to its end; the nodes have yet to say how much they have now. */
  doneMs: number | undefined;
}

type Plan = (row: Readonly<ChunkRow>) => Move | undefined;

/** More are not followed; the next census finds them. */
const CHUNKS_MAX = 100_000;
const IN_FLIGHT = 32;
/** Chunks that one pass looks at. */
const LOOKED_AT = 20_000;
/** A difference of so many chunks is none. */
const SLACK_CHUNKS = 16;

export class Rebalance {
  readonly #moving = new Map<number, Moving>();
  /** Chunks with copies that share a zone without need. */
  readonly #together = new Set<number>();
  /** Where the next pass goes on. */
  #from = "K";
  /** Moves since the first chunk. */
  #found = 0;
  #restUntilMs = -Infinity;
  #pausedUntilMs = -Infinity;

  constructor(
    private readonly parts: RebalanceParts,
    private readonly opts: RebalanceOptions,
  ) {}

  /** The chunk's row is this now. */
  follow(chunk: number, row: Readonly<ChunkRow> | undefined): void {
    const { nodes, volume } = this.parts;
    if (row === undefined || apartOf(row, nodes, wantedOf(row, volume)) === undefined) this.#together.delete(chunk);
    else if (this.#together.size < CHUNKS_MAX) this.#together.add(chunk);
    const move = this.#moving.get(chunk);
    if (move === undefined) return;
    const isOn = (node: number) => row?.replicas.some((copy) => copy.node === node) === true;
    if (!isOn(move.into)) {
      this.#moving.delete(chunk);
      if (row?.garbage === false) this.#pausedUntilMs = this.parts.clock.monotonicMs() + this.opts.pauseMs;
    } else if (!isOn(move.from)) move.doneMs ??= this.parts.clock.monotonicMs();
  }

  /** Nodes have changed: what could not move may be able to. */
  wake(): void {
    this.#restUntilMs = -Infinity;
  }

  async pass(signal: AbortSignal): Promise<void> {
    const { executor, shortage, volume, clock } = this.parts;
    this.#forget();
    if (volume.noRebalance === true || !shortage.isEmpty || clock.monotonicMs() < this.#pausedUntilMs) return;
    let room = this.#room();
    if (room > 0) room -= await this.#moveApart(room);
    if (room <= 0 || clock.monotonicMs() < this.#restUntilMs || this.#imbalance().far.size === 0) return;
    let looked = 0;
    for await (const rows of pages<"K">(executor, { from: this.#from, to: "L" }, signal)) {
      const last = rows.at(-1);
      if (last === undefined) break;
      const begun = await this.#begin(
        rows.map(({ row }) => row),
        room,
        () => this.#evenly(),
      );
      this.#found += begun;
      room -= begun;
      looked += rows.length;
      this.#from = key.chunk(last.row.id + 1);
      if (room <= 0 || looked >= LOOKED_AT) return;
    }
    if (signal.aborted) return;
    if (this.#found === 0) this.#restUntilMs = clock.monotonicMs() + this.opts.restMs;
    this.#from = "K";
    this.#found = 0;
  }

  async #moveApart(most: number): Promise<number> {
    const { executor, nodes, volume } = this.parts;
    const keys = [...this.#together].slice(0, most).map((chunk) => key.chunk(chunk));
    if (keys.length === 0) return 0;
    const { value: rows } = await executor.execute(0, (tx) => keys.flatMap((each) => tx.get(each) ?? []), {
      hint: keys,
    });
    return this.#begin(rows, most, () => (row) => apartOf(row, nodes, wantedOf(row, volume)));
  }

  /** By the loads as they are now. */
  #evenly(): Plan {
    const { nodes, volume } = this.parts;
    const imbalance = this.#imbalance();
    return (row) => moveOf(row, nodes, imbalance, wantedOf(row, volume));
  }

  /** Begins at most so many moves of these chunks; how many. `planNow` makes the plan for the next chunk. */
  async #begin(rows: readonly Readonly<ChunkRow>[], most: number, planNow: () => Plan): Promise<number> {
    const { changes, executor, metrics, repair, clock } = this.parts;
    const chosen: { readonly chunk: number; readonly plan: Plan }[] = [];
    for (const row of rows) {
      if (chosen.length >= most) break;
      const plan = planNow();
      const move = this.#moving.has(row.id) ? undefined : plan(row);
      if (move === undefined) continue;
      chosen.push({ chunk: row.id, plan });
      const untilMs = clock.monotonicMs() + this.opts.moveMs;
      this.#moving.set(row.id, { ...move, bytes: row.len, untilMs, doneMs: undefined });
    }
    if (chosen.length === 0) return 0;
    const { outcomes, batch } = await changes.run(chosen, { chunkOf: ({ chunk }) => chunk }, (tx, { chunk, plan }) =>
      beginMove(tx, chunk, plan),
    );
    await executor.whenDurable(batch);
    let begun = 0;
    for (const { item, result, after } of outcomes) {
      if (result === undefined || result instanceof FsError || after === undefined) this.#moving.delete(item.chunk);
      else {
        begun++;
        metrics.moved.inc();
        repair.order(result.into, after);
      }
    }
    return begun;
  }

  #imbalance(): Imbalance {
    const moved = new Map<number, number>();
    for (const { from, into, bytes } of this.#moving.values()) {
      moved.set(from, (moved.get(from) ?? 0) - bytes);
      moved.set(into, (moved.get(into) ?? 0) + bytes);
    }
    const loads: Load[] = [];
    for (const { id, state, row } of this.parts.membership.all()) {
      if (state.kind === "UP") loads.push({ id, capacity: row.capacity, used: row.used + (moved.get(id) ?? 0) });
    }
    return imbalanceOf(loads, SLACK_CHUNKS * this.parts.volume.chunkSize);
  }

  #room(): number {
    let inFlight = 0;
    for (const { doneMs } of this.#moving.values()) if (doneMs === undefined) inFlight++;
    return IN_FLIGHT - inFlight;
  }

  /** What the nodes have told of since, and what has not come to its end. */
  #forget(): void {
    const { membership, clock } = this.parts;
    const hasTold = (node: number, sinceMs: number) => (membership.get(node)?.lastHeartbeatMs ?? Infinity) > sinceMs;
    for (const [chunk, { from, into, doneMs, untilMs }] of this.#moving) {
      const isCounted = doneMs !== undefined && hasTold(from, doneMs) && hasTold(into, doneMs);
      if (isCounted || untilMs <= clock.monotonicMs()) this.#moving.delete(chunk);
    }
  }
}
