import type { Executor } from "./executor.js";
import { key } from "./keys.js";
import { volumeOf } from "./rules/volume.js";

/** Ids in one range; what is left of a range when the daemon ends is never used. */
const RANGE = 4096;

/** Ids that are never given twice: a range is on disk before the first of it is handed out. */
export class InodeIds {
  #next = 0;
  #end = 0;
  #reserved: { readonly first: number; readonly end: number } | undefined;
  #filling: Promise<void> | undefined;

  constructor(private readonly parts: { readonly executor: Executor }) {}

  /** Rejects FsError EIO when metadata cannot be saved any more. */
  async take(): Promise<number> {
    return (await this.takeSome(1)).first;
  }

  /** Ids first..first+count-1: at least one, and at most `max`. Rejects like `take`. */
  async takeSome(max: number): Promise<{ readonly first: number; readonly count: number }> {
    for (;;) {
      if (this.#end - this.#next < RANGE / 2 && this.#reserved === undefined) this.#filling ??= this.#fill();
      const taken = this.#pop(max);
      if (taken.count > 0) return taken;
      await this.#filling;
    }
  }

  #pop(max: number): { readonly first: number; readonly count: number } {
    if (this.#next >= this.#end && this.#reserved !== undefined) {
      this.#next = this.#reserved.first;
      this.#end = this.#reserved.end;
      this.#reserved = undefined;
    }
    const first = this.#next;
    const count = Math.max(0, Math.min(max, this.#end - first));
    this.#next += count;
    return { first, count };
  }

  async #fill(): Promise<void> {
    const { executor } = this.parts;
    try {
      const { value: first, batch } = await executor.execute(0, (tx) => {
        const volume = volumeOf(tx);
        tx.put(key.volume, { ...volume, nextIno: volume.nextIno + RANGE });
        return volume.nextIno;
      });
      await executor.whenDurable(batch);
      this.#reserved = { first, end: first + RANGE };
    } finally {
      this.#filling = undefined;
    }
  }
}
