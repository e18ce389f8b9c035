import type { Cancel, Clock } from "../../daemon/common/clock.js";

/** Closes wait so long for a message that they can travel with: nobody waits for them. */
const CLOSE_MS = 10;

/** Closes of one stream that are still to be told. */
export class Closes {
  readonly #counts = new Map<number, number>();
  #cancel: Cancel | undefined;

  /** `due`: nothing has taken them along in time. */
  constructor(
    private readonly clock: Clock,
    private readonly due: () => void,
  ) {}

  add(ino: number, count: number): void {
    this.#counts.set(ino, (this.#counts.get(ino) ?? 0) + count);
    this.#cancel ??= this.clock.after(CLOSE_MS, () => {
      this.#cancel = undefined;
      this.due();
    });
  }

  /** All of them, as inode and count; they are not here any more. */
  take(): [ino: number, count: number][] {
    if (this.#counts.size === 0) return [];
    const all = [...this.#counts];
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
