import type { Cancel, Clock } from "../../daemon/common/clock.js";
import type { Close } from "../../proto/gen/bigfs/v1/meta.js";

/** Closes wait so long for a message that they can travel with: nobody waits for them. */
const CLOSE_MS = 10;

/** Closes of one stream that are still to be told. */
export class Closes {
  readonly #counts = new Map<number, Close>();
  #cancel: Cancel | undefined;

  /** `due`: nothing has taken them along in time. */
  constructor(
    private readonly clock: Clock,
    private readonly due: () => void,
  ) {}

  add({ ino, count, writers }: Close): void {
    const before = this.#counts.get(ino);
    this.#counts.set(ino, { ino, count: (before?.count ?? 0) + count, writers: (before?.writers ?? 0) + writers });
    this.#cancel ??= this.clock.after(CLOSE_MS, () => {
      this.#cancel = undefined;
      this.due();
    });
  }

  /** All of them, one for each inode; they are not here any more. */
  take(): Close[] {
    if (this.#counts.size === 0) return [];
    const all = [...this.#counts.values()];
    this.clear();
    return all;
  }

  /** The stream is gone: what is open is declared on the next one. */
  clear(): void {
    this.#counts.clear();
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
