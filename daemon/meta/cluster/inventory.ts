/**
 * Compares what a node found on its disk after a join with what metadata lists.
 *
 * Invariants:
 * - The list is old from the moment it is made. What reports say of a chunk while the inventory runs is newer and wins.
 *   One that a report called gone (`gone`) is not confirmed by the list. One that any report was about (`touched`) does
 *   not count as lost when it is missing in the list: the node is asked, since the report may have been another node's
 *   that knew of the copy from before it was lost.
 * - A copy counts as lost only after the whole list has come, in order and without an error. Losing it changes rows
 *   only; nothing on any disk is removed for it.
 */
import type { Logger } from "pino";
import { FsError } from "../../../proto/errno.js";
import type { Inventory, StoredChunk } from "../../../proto/gen/bigfs/v1/node.js";
import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Executor } from "../executor.js";
import { key } from "../keys.js";
import { lostReplica } from "../rules/chunks.js";
import type { ChunkChanges } from "./changes.js";
import type { ClusterMetrics } from "./cluster-metrics.js";
import type { Member } from "./member.js";
import { pages, parts } from "./pages.js";
import type { Reports } from "./reports.js";

export interface InventoryParts {
  readonly executor: Executor;
  readonly changes: ChunkChanges;
  readonly reports: Reports;
  readonly metrics: ClusterMetrics;
  readonly log: Logger;
}

/** More reports than this during one inventory, and it finds nothing lost. */
const TOUCHED_MAX = 1_000_000;
/** Chunks in one message. */
const CHUNKS_PER_PUSH = 1000;

/** The inventories that run: one for each node, of its newest stream. */
export class Inventories {
  readonly #runs = new Map<number, InventoryRun>();

  constructor(private readonly parts: InventoryParts) {}

  /** The node has joined: its list is expected. */
  begin(member: Member): void {
    this.#runs.set(member.id, new InventoryRun(this.parts, member));
  }

  /** A report about these copies of that node has come. `areGone`: it has them no more. */
  touch(node: number, chunks: readonly number[], { areGone = false } = {}): void {
    this.#runs.get(node)?.touch(chunks, areGone);
  }

  /** The next page of the node's list. Returns the batch that records what it said. */
  async page(member: Member, page: Inventory): Promise<number> {
    const run = this.#runs.get(member.id);
    if (run === undefined) throw new FsError("EINVAL", "the inventory had ended");
    const batch = await run.page(page);
    if (page.last && this.#runs.get(member.id) === run) this.#runs.delete(member.id);
    return batch;
  }
}

/** One inventory. */
class InventoryRun {
  readonly #touched = new Set<number>();
  readonly #gone = new Set<number>();
  #missing: number[] = [];
  #after = -1;
  #state: "running" | "failed" | "done" = "running";

  constructor(
    private readonly parts: InventoryParts,
    private readonly member: Member,
  ) {}

  touch(chunks: readonly number[], areGone: boolean): void {
    if (this.#state !== "running") return;
    for (const chunk of chunks) {
      this.#touched.add(chunk);
      if (areGone) this.#gone.add(chunk);
    }
    if (this.#touched.size > TOUCHED_MAX) this.#fail("too much changed meanwhile");
  }

  async page({ chunks, last }: Inventory): Promise<number> {
    try {
      this.#mustBeInOrder(chunks);
      const batch = await this.parts.reports.confirm(this.member, chunks, (chunk) => this.#gone.has(chunk));
      await this.#compare(chunks, last);
      this.#after = chunks.at(-1)?.chunk ?? this.#after;
      return last ? Math.max(batch, await this.#finish()) : batch;
    } catch (error) {
      this.#fail(String(error));
      throw error;
    }
  }

  #mustBeInOrder(chunks: readonly StoredChunk[]): void {
    let before = this.#after;
    for (const { chunk } of chunks) {
      if (chunk <= before) throw new FsError("EINVAL", `inventory out of order: ${chunk} after ${before}`);
      before = chunk;
    }
  }

  /** Notes the copies that metadata lists in the page's range and the page does not. */
  async #compare(chunks: readonly StoredChunk[], last: boolean): Promise<void> {
    if (this.#state !== "running") return;
    const end = chunks.at(-1)?.chunk;
    if (end === undefined && !last) return;
    const found = new Set(chunks.map(({ chunk }) => chunk));
    const to = last || end === undefined ? "L" : key.chunk(end + 1);
    for await (const rows of pages<"K">(this.parts.executor, { from: key.chunk(this.#after + 1), to })) {
      for (const { row } of rows) {
        const isListed = row.replicas.some(
          (copy) => copy.node === this.member.id && copy.state === ReplicaState.AVAILABLE,
        );
        if (isListed && !found.has(row.id)) this.#missing.push(row.id);
      }
    }
  }

  async #finish(): Promise<number> {
    const missing = this.#missing.filter((chunk) => !this.#touched.has(chunk));
    if (this.#state === "failed") return 0;
    this.#state = "done";
    const doubtful = this.#missing.filter((chunk) => this.#touched.has(chunk));
    for (const part of parts(doubtful, CHUNKS_PER_PUSH)) {
      this.member.push({ $case: "sync", value: { chunks: [...part] } });
    }
    const { changes, log, metrics } = this.parts;
    const { outcomes, batch } = await changes.run(missing, { chunkOf: (chunk) => chunk }, (tx, chunk) =>
      this.#touched.has(chunk) ? undefined : lostReplica(tx, this.member.id, chunk),
    );
    const lost = outcomes.filter(({ result }) => result !== undefined).length;
    metrics.lost.inc(lost);
    if (lost > 0) log.warn({ node: this.member.id, lost }, "a node came back without copies that it had confirmed");
    this.#clear();
    return batch;
  }

  #fail(why: string): void {
    if (this.#state !== "running") return;
    this.#state = "failed";
    this.parts.log.warn({ node: this.member.id, why }, "an inventory was not completed; nothing counts as lost for it");
    this.#clear();
  }

  #clear(): void {
    this.#missing = [];
    this.#touched.clear();
    this.#gone.clear();
  }
}
