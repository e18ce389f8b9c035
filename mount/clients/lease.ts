import type { Clock } from "../../daemon/common/clock.js";

/**
 * How long cached answers may be used. The daemon counts from when it received a message and adds a margin, so counting
 * from when that message was sent is never too long, however late the echo was read.
 */
export class Lease {
  #sentMs = -Infinity;
  #leaseMs = 0;

  constructor(private readonly clock: Clock) {}

  /** What goes into a frame that is sent now. 0 would mean "none". */
  stamp(): number {
    return Math.max(1, Math.floor(this.clock.monotonicMs()));
  }

  /** A session begins, or goes on over a new stream (`isSame`): then what was echoed before still counts. */
  begin(leaseMs: number, isSame: boolean): void {
    this.#leaseMs = leaseMs;
    if (!isSame) this.#sentMs = -Infinity;
  }

  /** The daemon has received what was sent at this time. */
  echoed(sentMs: number): void {
    if (sentMs > this.#sentMs && sentMs <= this.clock.monotonicMs()) this.#sentMs = sentMs;
  }

  leftMs(): number {
    return Math.max(0, this.#sentMs + this.#leaseMs - this.clock.monotonicMs());
  }
}
