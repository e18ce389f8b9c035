import { pages } from "./cluster/pages.js";
import type { Executor } from "./executor.js";
import { idIn, key } from "./keys.js";
import { Observed } from "./observed.js";
import type { Recalls } from "./recalls.js";
import { SWEEP_SLOTS, sweepStep, sweepWork } from "./rules/sweep.js";

export interface SweeperParts {
  readonly executor: Executor;
  readonly recalls: Recalls;
}

/** Goes on with what truncations and removals of big files have left to do, one bounded step after the other. */
export class Sweeper {
  constructor(private readonly parts: SweeperParts) {}

  async pass(signal: AbortSignal): Promise<void> {
    for await (const rows of pages<"W">(this.parts.executor, { from: "W", to: "X" }, signal)) {
      for (const { row } of rows) await this.#sweep(row.ino, signal);
    }
  }

  async #sweep(ino: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && (await this.#step(ino)));
  }

  async #step(ino: number): Promise<boolean> {
    const { executor, recalls } = this.parts;
    const { value: work } = await executor.execute(0, (tx) => sweepWork(tx, ino));
    if (work === undefined) return false;
    const range = { from: key.slot(ino, work.first), to: key.slot(ino, work.end), limit: SWEEP_SLOTS };
    const page = await executor.scan<"S">(0, range);
    const slots = page.rows.map((row) => idIn(row.key, 1));
    const upTo = page.next === undefined ? work.end : (slots.at(-1) ?? work.first) + 1;
    const { value: goesOn } = await executor.execute(0, (tx) => {
      const seen = new Observed(tx);
      const more = sweepStep(seen, work, { slots, upTo });
      void recalls.changed(seen.changes(), 0);
      return more;
    });
    return goesOn;
  }
}
