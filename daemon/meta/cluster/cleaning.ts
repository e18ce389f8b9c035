/**
 * Gives back the space of chunks that nothing names any more.
 *
 * First phase: a chunk becomes garbage, in the operation that drops its last reference, or here when its session ended
 * without having committed it. Second phase: when it has been garbage for deleteDelay and what replaced it is on disk,
 * DELETING is recorded; then nodes are told to remove; each copy stays listed until its node has said that it is gone.
 *
 * "What replaced it": the garbage row names the file and the version of the change that dropped the chunk, and the
 * file's unsynced row names every chunk that some version of it got and that is not synced on M nodes yet. While that
 * has an entry of this version or an older one, the chunk stays, and the entries are synced. This covers all chunks
 * that the file had got by then, more than those which really replaced it.
 *
 * A pass that cannot read everything throws, and has deleted only what it had evidence for.
 */
import { FsError } from "../../../proto/errno.js";
import type { ChunkRow, GarbageRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Executor } from "../executor.js";
import { hex, key } from "../keys.js";
import { abandonChunk, beginDelete } from "../rules/chunks.js";
import type { ChunkChanges } from "./changes.js";
import { pages } from "./pages.js";
import type { Removals } from "./removals.js";
import type { Reports } from "./reports.js";
import type { ServedTime } from "./served-time.js";
import type { SyncRequests } from "./sync-requests.js";

export interface CleaningParts {
  readonly executor: Executor;
  readonly changes: ChunkChanges;
  readonly reports: Reports;
  readonly removals: Removals;
  readonly syncs: SyncRequests;
  readonly served: ServedTime;
}

export interface CleaningOptions {
  readonly deleteDelayMs: number;
  readonly orphanGraceMs: number;
}

/** Files whose unsynced chunks one pass asks for, and chunks of each. */
const FILES_TO_SYNC = 16;
const CHUNKS_TO_SYNC = 256;

export class Cleaning {
  #garbage = 0;

  constructor(
    private readonly parts: CleaningParts,
    private readonly opts: CleaningOptions,
  ) {}

  /** Chunks that were on their way out at the last pass. */
  get garbage(): number {
    return this.#garbage;
  }

  async pass(signal: AbortSignal): Promise<void> {
    await this.#abandon(signal);
    await this.parts.reports.explain();
    await this.#collect(signal);
  }

  /** Chunks that nobody committed before their session ended become garbage; then the session is forgotten. */
  async #abandon(signal: AbortSignal): Promise<void> {
    const { executor, changes, served } = this.parts;
    const { value: before } = await executor.execute(0, (tx) => served.before(tx, this.opts.orphanGraceMs));
    const ended = new Set<number>();
    for await (const rows of pages<"P">(executor, { from: "P", to: "Q" })) {
      for (const { row } of rows) if (row.ended && row.endedServedSec <= before) ended.add(row.id);
    }
    if (ended.size === 0) return;
    for await (const ranges of pages<"R">(executor, { from: "R", to: "S" }, signal)) {
      for (const { row: range } of ranges) {
        if (!ended.has(range.session)) continue;
        const ids = { from: key.chunk(range.first), to: key.chunk(range.first + range.count) };
        for await (const rows of pages<"K">(executor, ids, signal)) {
          const unnamed = rows.filter(({ row }) => row.refs === 0 && !row.garbage).map(({ row }) => row.id);
          await changes.run(unnamed, { chunkOf: (chunk) => chunk }, abandonChunk);
        }
      }
    }
    if (signal.aborted) return;
    for (const session of ended) await this.#forget(session);
  }

  async #forget(session: number): Promise<void> {
    const { executor } = this.parts;
    const replies = { from: `Q${hex(session)}`, to: `Q${hex(session + 1)}` };
    for await (const rows of pages<"Q">(executor, replies)) {
      await executor.execute(0, (tx) => rows.forEach((reply) => tx.del(reply.key)));
    }
    await executor.execute(0, (tx) => {
      if (tx.get(key.session(session))?.ended === true) tx.del(key.session(session));
    });
  }

  async #collect(signal: AbortSignal): Promise<void> {
    const { executor, changes, served } = this.parts;
    const unsynced = new Set<number>();
    let garbage = 0;
    for await (const rows of pages<"G">(executor, { from: "G", to: "H" }, signal)) {
      const { value: before } = await executor.execute(0, (tx) => served.before(tx, this.opts.deleteDelayMs));
      const old = rows.map(({ row }) => row).filter((row) => row.deleting || row.since <= before);
      const { outcomes, batch } = await changes.run(
        old,
        { chunkOf: (row) => row.chunk, hint: rowsOf },
        (tx, row: Readonly<GarbageRow>) => beginDelete(tx, row.chunk, before),
      );
      await executor.whenDurable(batch);
      const removals = new Map<number, number[]>();
      for (const { item, result } of outcomes) {
        if (result instanceof FsError) throw result;
        if (result === undefined && item.ino !== 0) unsynced.add(item.ino);
        for (const node of result ?? []) add(removals, node, item.chunk);
      }
      await this.#remove(removals);
      garbage += rows.length - outcomes.filter(({ after }) => after === undefined).length;
    }
    if (!signal.aborted) this.#garbage = garbage;
    for (const ino of [...unsynced].slice(0, FILES_TO_SYNC)) await this.#sync(ino);
  }

  async #remove(removals: ReadonlyMap<number, readonly number[]>): Promise<void> {
    await Promise.all(
      [...removals].map(async ([node, chunks]) => {
        if (await this.parts.removals.room(node)) this.parts.removals.tell(node, chunks);
      }),
    );
  }

  /** Asks for the oldest chunks of a file that hold up the deletion of others. */
  async #sync(ino: number): Promise<void> {
    const { value: rows } = await this.parts.executor.execute(0, (tx): Readonly<ChunkRow>[] => {
      const oldest = tx.get(key.unsynced(ino))?.chunks.slice(0, CHUNKS_TO_SYNC) ?? [];
      tx.preload?.(oldest.map((chunk) => key.chunk(chunk)));
      return oldest.flatMap((chunk) => tx.get(key.chunk(chunk)) ?? []);
    });
    for (const row of rows) this.parts.syncs.ask(row);
  }
}

function rowsOf(rows: readonly Readonly<GarbageRow>[]) {
  return rows.flatMap((row) => [key.chunk(row.chunk), key.garbage(row.chunk), key.unsynced(row.ino)]);
}

function add(map: Map<number, number[]>, node: number, chunk: number): void {
  const chunks = map.get(node);
  if (chunks === undefined) map.set(node, [chunk]);
  else chunks.push(chunk);
}
