/** Who may have a lock. See model.ts for what a moment is. */
import type { FileModel } from "./files-model.js";
import type { Report } from "./model.js";

/** A lock as a program has it, from the answer that grants it until it asks to end it. */
export interface Hold {
  readonly name: string;
  readonly isExclusive: boolean;
  readonly granted: number;
}

/** Two have it at once: at most one of them can do anything since, the other's session is over. */
interface Conflict {
  readonly holds: readonly Hold[];
  readonly since: number;
  /** Those that have read or stored something since. */
  readonly working: Set<Hold>;
}

export class LockModel {
  readonly #holds = new Map<FileModel, Set<Hold>>();
  readonly #conflicts: Conflict[] = [];

  granted(file: FileModel, hold: Hold): Hold {
    const holds = this.#holds.get(file) ?? new Set<Hold>();
    for (const other of holds) {
      if (other.isExclusive || hold.isExclusive)
        this.#conflicts.push({ holds: [other, hold], since: hold.granted, working: new Set() });
    }
    this.#holds.set(file, holds.add(hold));
    return hold;
  }

  ended(file: FileModel, hold: Hold): void {
    this.#holds.get(file)?.delete(hold);
  }

  /** Whoever has it has read or stored something, asked for at `start`. */
  worked(hold: Hold, start: number, report: Report): void {
    for (const { holds, since, working } of this.#conflicts) {
      if (!holds.includes(hold) || start < since) continue;
      working.add(hold);
      if (working.size > 1) report(`${holds.map(({ name }) => name).join(" and ")} have one lock since ${since}`);
    }
  }
}
