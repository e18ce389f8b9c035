/**
 * Removes copies that are too many: after a node came back, after fewer are wanted, and, since what moves is copied first,
 * when a copy was moved.
 *
 * Invariants:
 * - As many copies as are wanted stay. Each of them was read by its node against its checksums and is fsynced, on the
 *   stream that the node still has, after this began to look at the chunk.
 * - The decision (DELETING, of that copy) is durable before its node is told; the copy stays listed until the node says
 *   that it is gone. A node that has not said so is told again after those that stay were verified again; when there are
 *   too few of them by then, its copy is kept if it still has it.
 * - At most IN_FLIGHT chunks are being verified.
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
import type { NodesView } from "./nodes-view.js";
import type { Removals } from "./removals.js";
import { settleSurplus, surplusOf } from "./surplus-plan.js";

export interface SurplusParts {
  readonly executor: Executor;
  readonly changes: ChunkChanges;
  readonly membership: Membership;
  readonly removals: Removals;
  readonly metrics: ClusterMetrics;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodes: NodesView;
  readonly volume: { readonly replicas: number; readonly cleaningOff: boolean };
}

/** queued: to be looked at, when cleaning is not off. checked: nodes verify copies. told: nodes were told to remove theirs. */
type Entry =
  | { readonly state: "queued" }
  | {
      readonly state: "checked";
      readonly waiting: Set<number>;
      readonly verified: Set<number>;
      readonly untilMs: number;
    }
  | { readonly state: "told"; readonly untilMs: number };

/** More are not followed; the next census finds them. */
const CHUNKS_MAX = 100_000;
const IN_FLIGHT = 64;

export class SurplusCopies {
  readonly #entries = new Map<number, Entry>();
  readonly #queue = new Set<number>();
  #checks = 0;
  /** What each node was asked, by number. */
  readonly #asked = new Map<number, { readonly node: number; readonly chunks: readonly number[] }>();
  #lastNumber = 0;
  #isOverflowing = false;

  constructor(
    private readonly parts: SurplusParts,
    private readonly opts: {
      /** A node that has not answered for so long is asked or told again. */
      readonly confirmMs: number;
    },
  ) {}

  /** Chunks with copies that are too many and not gone. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether some were not remembered since the last clear(); a census finds them again. */
  get isOverflowing(): boolean {
    return this.#isOverflowing;
  }

  /** Before a census, which follows every row. */
  clear(): void {
    this.#isOverflowing = false;
  }

  /** Whether a pass would find work and room for it. */
  get isReady(): boolean {
    return this.#queue.size > 0 && this.#checks <= IN_FLIGHT / 2;
  }

  /** The chunk's row is this now. */
  follow(chunk: number, row: Readonly<ChunkRow> | undefined): void {
    const { nodes, volume } = this.parts;
    const isNone = row === undefined || surplusOf(row, nodes, wantedOf(row, volume)).kind === "none";
    if (isNone) this.#put(chunk, undefined);
    else if (this.#entries.has(chunk)) return;
    else if (this.#entries.size < CHUNKS_MAX) this.#put(chunk, { state: "queued" });
    else this.#isOverflowing = true;
  }

  async pass(signal: AbortSignal): Promise<void> {
    this.#retry();
    if (this.parts.volume.cleaningOff) return;
    while (!signal.aborted && this.#queue.size > 0 && this.#checks < IN_FLIGHT) await this.#ask();
  }

  /** These chunks are whole and fsynced on the node; `number` is that of the question. */
  verified(node: number, number: number, chunks: readonly number[]): void {
    const asked = this.#asked.get(number);
    if (asked?.node !== node) return;
    this.#asked.delete(number);
    const good = new Set(chunks);
    const done: { chunk: number; verified: ReadonlySet<number> }[] = [];
    for (const chunk of asked.chunks) {
      const entry = this.#entries.get(chunk);
      if (entry?.state !== "checked" || !entry.waiting.delete(node) || !good.has(chunk)) continue;
      entry.verified.add(node);
      if (entry.waiting.size === 0) done.push({ chunk, verified: entry.verified });
    }
    this.#settle(done).catch((error: unknown) =>
      this.parts.log.error({ err: error }, "copies that are too many could not be dropped; it will be tried again"),
    );
  }

  /** The node has a new stream, or none: what it has verified may be gone, and what it was told was not heard. */
  forgetNode(node: number): void {
    for (const [chunk, entry] of this.#entries) {
      if (
        entry.state === "told" ||
        (entry.state === "checked" && (entry.waiting.has(node) || entry.verified.has(node)))
      )
        this.#put(chunk, { state: "queued" });
    }
    for (const [number, asked] of this.#asked) if (asked.node === node) this.#asked.delete(number);
  }

  /** Asks the nodes about as many chunks as there is room for. */
  async #ask(): Promise<void> {
    const { executor, clock, nodes, volume, membership } = this.parts;
    const chunks = [...this.#queue].slice(0, IN_FLIGHT - this.#checks);
    const keys = chunks.map((chunk) => key.chunk(chunk));
    const { value: rows } = await executor.execute(0, (tx) => keys.map((each) => tx.get(each)), { hint: keys });
    const untilMs = clock.monotonicMs() + this.opts.confirmMs;
    const questions = new Map<number, number[]>();
    chunks.forEach((chunk, i) => {
      const row = rows[i];
      const surplus = row && surplusOf(row, nodes, wantedOf(row, volume));
      if (surplus === undefined || surplus.kind === "none") return this.#put(chunk, undefined);
      this.#put(chunk, { state: "checked", waiting: new Set(surplus.ask), verified: new Set(), untilMs });
      for (const node of surplus.ask) questions.set(node, [...(questions.get(node) ?? []), chunk]);
    });
    for (const [node, about] of questions) {
      const number = ++this.#lastNumber;
      this.#asked.set(number, { node, chunks: about });
      membership.get(node)?.push({ $case: "verify", value: { number, chunks: about } });
    }
  }

  async #settle(checked: readonly { readonly chunk: number; readonly verified: ReadonlySet<number> }[]): Promise<void> {
    if (checked.length === 0 || this.parts.volume.cleaningOff) return;
    const { changes, executor, removals, nodes, volume, metrics, clock } = this.parts;
    const wanted = (row: Readonly<ChunkRow>) => wantedOf(row, volume);
    const { outcomes, batch } = await changes.run(
      checked,
      { chunkOf: ({ chunk }) => chunk },
      (tx, { chunk, verified }) => settleSurplus(tx, chunk, nodes, { wanted, verified }),
    );
    for (const { item, result, after } of outcomes) {
      const isTold = !(result instanceof FsError) && result.length > 0;
      const untilMs = clock.monotonicMs() + this.opts.confirmMs;
      this.#put(item.chunk, isTold ? { state: "told", untilMs } : undefined);
      this.follow(item.chunk, after);
    }
    await executor.whenDurable(batch);
    for (const { item, result } of outcomes) {
      if (result instanceof FsError) throw result;
      metrics.surplus.inc(result.length);
      for (const node of result) removals.tell(node, [item.chunk]);
    }
  }

  /** Looks again at those whose time is over. */
  #retry(): void {
    const nowMs = this.parts.clock.monotonicMs();
    for (const [chunk, entry] of this.#entries)
      if (entry.state !== "queued" && entry.untilMs <= nowMs) this.#put(chunk, { state: "queued" });
    for (const [number, { chunks }] of this.#asked)
      if (!chunks.some((chunk) => this.#entries.get(chunk)?.state === "checked")) this.#asked.delete(number);
  }

  /** The one door for changes of state. */
  #put(chunk: number, entry: Entry | undefined): void {
    if (this.#entries.get(chunk)?.state === "checked") this.#checks--;
    if (entry === undefined) this.#entries.delete(chunk);
    else this.#entries.set(chunk, entry);
    if (entry?.state === "queued") this.#queue.add(chunk);
    else this.#queue.delete(chunk);
    if (entry?.state === "checked") this.#checks++;
  }
}
