import { pages } from "./cluster/pages.js";
import type { Executor } from "./executor.js";
import { Observed } from "./observed.js";
import type { Opens } from "./opens.js";
import type { Phases } from "./phases.js";
import type { Recalls } from "./recalls.js";
import { reapOrphan } from "./rules/drop.js";

export interface ReaperParts {
  readonly executor: Executor;
  readonly opens: Opens;
  readonly phases: Phases;
  readonly recalls: Recalls;
  /** A big file is gone whose slots are not. */
  readonly sweepSoon: () => void;
}

/** Removes files without a name when the last session has let go of them. Not before every session had its say. */
export class Reaper {
  /** Files that may be orphans. */
  readonly #orphans = new Set<number>();

  constructor(private readonly parts: ReaperParts) {}

  get size(): number {
    return this.#orphans.size;
  }

  /** The file has lost its last name, and is open. */
  orphaned(ino: number): void {
    this.#orphans.add(ino);
  }

  /** Nobody has these open any more. Rejects when metadata cannot be read or saved; a pass tries again. */
  async unopened(inos: readonly number[]): Promise<void> {
    if (!this.parts.phases.isServing) return;
    await Promise.all(inos.filter((ino) => this.#orphans.has(ino)).map((ino) => this.#reap(ino)));
  }

  /** Finds what earlier lives of the daemon have left. */
  async load(): Promise<void> {
    for await (const rows of pages<"O">(this.parts.executor, { from: "O", to: "P" })) {
      for (const { row } of rows) this.#orphans.add(row.ino);
    }
  }

  /** Everything that can be reaped now. */
  async pass(signal: AbortSignal): Promise<void> {
    for (const ino of [...this.#orphans]) {
      if (signal.aborted || !this.parts.phases.isServing) return;
      if (!this.parts.opens.isOpen(ino)) await this.#reap(ino);
    }
  }

  async #reap(ino: number): Promise<void> {
    const { executor, opens, recalls, sweepSoon } = this.parts;
    const { value: sweeps } = await executor.execute(0, (tx) => {
      if (opens.isOpen(ino)) return false;
      const seen = new Observed(tx);
      reapOrphan(seen, ino);
      this.#orphans.delete(ino);
      void recalls.changed(seen.changes(), 0);
      return seen.sweeps;
    });
    if (sweeps) sweepSoon();
  }
}
