/**
 * Brings chunks back to as many live copies as are wanted, on nodes that are not drained; those with the fewest first.
 *
 * Invariants:
 * - A copy is PENDING in a durable row before its node is told to make it.
 * - A PENDING copy that is not confirmed in time is asked for again RETRIES times, then dropped by a recorded decision,
 *   and another node gets the chunk.
 * - At most IN_FLIGHT copies are being made.
 */
import type { Logger } from "pino";
import { FsError } from "../../../proto/errno.js";
import type { ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../../common/clock.js";
import type { Executor } from "../executor.js";
import { key } from "../keys.js";
import { wantedOf } from "../rules/chunks.js";
import type { ChunkChanges } from "./changes.js";
import type { ClusterMetrics } from "./cluster-metrics.js";
import type { Membership } from "./membership.js";
import type { PendingCopies, PendingCopy } from "./pending-copies.js";
import type { NodesView } from "./nodes-view.js";
import { dropAssigned, planRepair, sourcesOf, type Plan } from "./repair-plan.js";
import type { Shortage } from "./shortage.js";

export interface RepairParts {
  readonly executor: Executor;
  readonly changes: ChunkChanges;
  readonly membership: Membership;
  readonly pending: PendingCopies;
  readonly shortage: Shortage;
  readonly metrics: ClusterMetrics;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodes: NodesView;
  /** How many copies there shall be. */
  readonly volume: { readonly replicas: number };
}

export interface RepairOptions {
  readonly confirmMs: number;
}

const RETRIES = 3;
/** Copies that are made at one time: enough to keep a few disks busy, few enough to leave room for the users' work. */
const IN_FLIGHT = 64;

export class Repair {
  /** Nodes that failed to make or to keep a copy of a chunk, and until when they are passed over for it. */
  readonly #excluded = new Map<number, Map<number, number>>();
  /** Copies that were assigned here and may still be PENDING. */
  #making: { readonly chunk: number; readonly node: number }[] = [];

  constructor(
    private readonly parts: RepairParts,
    private readonly opts: RepairOptions,
  ) {}

  /** One pass: what is overdue, then as many new copies as there is room for. */
  async pass(signal: AbortSignal): Promise<void> {
    const { pending, shortage } = this.parts;
    this.#retryExcluded();
    await this.#overdue(pending.due());
    while (!signal.aborted && this.#room() > 0) {
      const chunks = shortage.take(this.#room());
      if (chunks.length === 0) return;
      await this.#assign(chunks);
    }
  }

  /** Whether a pass would find work and room for it. */
  get isReady(): boolean {
    return this.parts.shortage.hasQueued && this.#room() > IN_FLIGHT / 2;
  }

  /** The node could not make these copies. Returns the batch that records it. */
  async failed(node: number, chunks: readonly number[], errno: string): Promise<number> {
    this.parts.log.warn({ node, errno, chunks: chunks.length, first: chunks[0] }, "a node could not copy chunks");
    return this.#drop(chunks.map((chunk) => ({ chunk, node })));
  }

  /** The node has just lost these: it does not get them back at once. */
  avoid(node: number, chunks: readonly number[]): void {
    const untilMs = this.parts.clock.monotonicMs() + this.opts.confirmMs;
    for (const chunk of chunks) {
      this.#excluded.set(chunk, (this.#excluded.get(chunk) ?? new Map<number, number>()).set(node, untilMs));
    }
  }

  async #assign(chunks: readonly number[]): Promise<void> {
    const { executor, changes, shortage, metrics } = this.parts;
    const wanted = (row: Readonly<ChunkRow>) => wantedOf(row, this.parts.volume);
    const { outcomes, batch } = await changes.run(chunks, { chunkOf: (chunk) => chunk }, (tx, chunk): Plan =>
      planRepair(tx, chunk, this.parts.nodes, { wanted, exclude: new Set(this.#excluded.get(chunk)?.keys()) }),
    );
    await executor.whenDurable(batch);
    for (const { item: chunk, result, after } of outcomes) {
      if (result instanceof FsError || result.kind === "stuck") shortage.stick(chunk);
      if (result instanceof FsError || result.kind !== "assigned" || after === undefined) continue;
      if (result.missing > 0) shortage.stick(chunk);
      metrics.repaired.inc(result.targets.length);
      for (const node of result.targets) {
        this.#making.push({ chunk, node });
        this.order(node, after);
      }
    }
  }

  #room(): number {
    this.#making = this.#making.filter(({ chunk, node }) => this.parts.pending.has(chunk, node));
    return IN_FLIGHT - this.#making.length;
  }

  /** Nodes whose time is over may be chosen again. */
  #retryExcluded(): void {
    const nowMs = this.parts.clock.monotonicMs();
    for (const [chunk, nodes] of this.#excluded) {
      for (const [node, untilMs] of nodes) if (untilMs <= nowMs) nodes.delete(node);
      if (nodes.size > 0) continue;
      this.#excluded.delete(chunk);
      this.parts.shortage.unstick(chunk);
    }
  }

  async #overdue(due: readonly PendingCopy[]): Promise<void> {
    const { executor, membership, pending } = this.parts;
    const isHopeless = (copy: PendingCopy) => copy.retries >= RETRIES || !membership.isLive(copy.node);
    const again = due.filter((copy) => !isHopeless(copy));
    await this.#drop(due.filter(isHopeless));
    if (again.length === 0) return;
    const keys = again.map((copy) => key.chunk(copy.chunk));
    const { value: rows } = await executor.execute(0, (tx) => keys.map((chunk) => tx.get(chunk)), { hint: keys });
    again.forEach((copy, i) => {
      const row = rows[i];
      pending.follow(copy.chunk, row);
      pending.askedAgain(copy);
      if (row !== undefined) this.order(copy.node, row);
    });
  }

  async #drop(copies: readonly { readonly chunk: number; readonly node: number }[]): Promise<number> {
    for (const { chunk, node } of copies) this.avoid(node, [chunk]);
    const { batch } = await this.parts.changes.run(copies, { chunkOf: (copy) => copy.chunk }, (tx, { chunk, node }) =>
      dropAssigned(tx, chunk, node),
    );
    return batch;
  }

  /** Tells the node to make the copy that is assigned to it. */
  order(node: number, row: Readonly<ChunkRow>): void {
    const from = sourcesOf(row, this.parts.nodes).filter((source) => source.node !== node);
    const { id: chunk, len, crc } = row;
    if (from.length > 0)
      this.parts.membership.get(node)?.push({ $case: "replicate", value: { chunk, len, crc, from } });
  }
}
