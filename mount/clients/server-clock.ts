import type { Clock } from "../../daemon/common/clock.js";
import { LIMITS } from "../../proto/limits.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";

/** Two clocks that are kept by different crystals, in parts of one. */
const DRIFT = 0.0002;

/**
 * Wall time as the metadata daemon has it, which all times of files are by. The host's own clock is the finer one, and
 * counts as long as it agrees with what the daemon said at its greeting; a wrong one, or one that is set wrong later,
 * would give files times that their readers take for old.
 */
export class ServerClock {
  #wallMs: number | undefined;
  #atMs = 0;

  constructor(private readonly clock: Clock) {}

  /** The daemon's wall time now, in milliseconds. */
  greeted(wallMs: number): void {
    this.#wallMs = wallMs;
    this.#atMs = this.clock.monotonicMs();
  }

  now(): Time {
    const here = this.clock.now();
    if (this.#wallMs === undefined) return here;
    const sinceMs = this.clock.monotonicMs() - this.#atMs;
    const thereMs = this.#wallMs + sinceMs;
    const differenceMs = Math.abs(here.sec * 1000 + here.nsec / 1e6 - thereMs);
    if (differenceMs <= LIMITS.clockSlackMs + sinceMs * DRIFT) return here;
    return { sec: Math.floor(thereMs / 1000), nsec: Math.floor((thereMs % 1000) * 1e6) };
  }
}
