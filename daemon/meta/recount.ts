import type { Cluster } from "./cluster/cluster.js";
import { pages } from "./cluster/pages.js";
import type { Executor } from "./executor.js";
import { hex, idIn, key } from "./keys.js";
import { Observed } from "./observed.js";
import type { Recalls } from "./recalls.js";
import { isDir } from "./rules/modes.js";
import { type ReplicaChange, changeEntries, changeSlots, setReplicas } from "./rules/replica-change.js";
import type { Tx } from "./tx.js";

export interface RecountParts {
  readonly executor: Executor;
  readonly recalls: Recalls;
  readonly cluster: Pick<Cluster, "chunksChanged">;
}

/** Entries or slots in one step. */
const PER_STEP = 64;
/** So many are counted for a status. */
const LEFT_MAX = 1000;

/** Carries changes of replica counts through the tree, one bounded step after the other. */
export class Recount {
  constructor(private readonly parts: RecountParts) {}

  /** Durable; the work that follows from it is left to `pass`. */
  async set(ino: number, replicas: number): Promise<void> {
    await this.parts.executor.whenDurable(await this.#run((tx) => setReplicas(tx, ino, replicas)));
  }

  /** Folders and files that are still to be worked on; at most LEFT_MAX. */
  async left(): Promise<number> {
    return (await this.parts.executor.scan<"B">(0, { from: "B", to: "C", limit: LEFT_MAX })).rows.length;
  }

  /** Until nothing is left. */
  async pass(signal: AbortSignal): Promise<void> {
    for (let isDone = false; !isDone && !signal.aborted;) {
      isDone = true;
      for await (const rows of pages<"B">(this.parts.executor, { from: "B", to: "C" }, signal)) {
        for (const { row } of rows) {
          isDone = false;
          if (!signal.aborted) await this.#step(row);
        }
      }
    }
  }

  async #step(work: ReplicaChange): Promise<void> {
    const { executor, cluster } = this.parts;
    const { value: inode } = await executor.execute(0, (tx) => tx.get(key.inode(work.ino)));
    if (inode !== undefined && isDir(inode)) {
      const range = { from: key.cookie(work.ino, work.done + 1), to: `C${hex(work.ino + 1)}`, limit: PER_STEP };
      const { rows, next } = await executor.scan<"C">(0, range);
      const last = rows.at(-1);
      const done = next === undefined || last === undefined ? undefined : idIn(last.key, 1);
      await this.#run((tx) => changeEntries(tx, work, { inos: rows.map(({ row }) => row.ino), done }));
      return;
    }
    const range = { from: key.slot(work.ino, work.done), to: `S${hex(work.ino + 1)}`, limit: PER_STEP };
    const { rows, next } = await executor.scan<"S">(0, range);
    const slots = rows.map((row) => idIn(row.key, 1));
    const done = next === undefined ? undefined : (slots.at(-1) ?? work.done) + 1;
    let changed: readonly number[] = [];
    await this.#run((tx) => (changed = changeSlots(tx, work, { slots, done })));
    await cluster.chunksChanged(changed);
  }

  /** Runs a rule that changes inodes; the batch. */
  async #run(rule: (tx: Tx) => unknown): Promise<number> {
    const { executor, recalls } = this.parts;
    const { batch } = await executor.execute(0, (tx) => {
      const seen = new Observed(tx);
      rule(seen);
      void recalls.changed(seen.changes(), 0);
    });
    return batch;
  }
}
