import type { Clock } from "./clock.js";

/** Seconds that a rate looks back. */
const WINDOW = 10;

/** How much of something there is per second, over the last ten seconds. */
export class Rate {
  readonly #counts = new Float64Array(WINDOW);
  readonly #startSec: number;
  /** The second of the newest count. */
  #sec: number;

  constructor(private readonly clock: Pick<Clock, "monotonicMs">) {
    this.#startSec = this.#sec = this.#now();
  }

  note(amount = 1): void {
    this.#advance();
    this.#counts[this.#sec % WINDOW] = (this.#counts[this.#sec % WINDOW] ?? 0) + amount;
  }

  get perSecond(): number {
    this.#advance();
    const seconds = Math.min(WINDOW, this.#sec - this.#startSec + 1);
    return this.#counts.reduce((sum, count) => sum + count, 0) / seconds;
  }

  #advance(): void {
    const now = this.#now();
    const passed = Math.min(WINDOW, now - this.#sec);
    for (let i = 1; i <= passed; i++) this.#counts[(this.#sec + i) % WINDOW] = 0;
    this.#sec = now;
  }

  #now(): number {
    return Math.floor(this.clock.monotonicMs() / 1000);
  }
}
