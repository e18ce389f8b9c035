import type { Cancel, Clock } from "../../daemon/common/clock.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";

/** A clock that stands still until a test advances it. */
export class FakeClock implements Clock {
  #ms = 1_000;
  #timers: { readonly at: number; readonly order: number; readonly fn: () => void }[] = [];
  #order = 0;

  /** `startSec`: wall time of monotonic 0. */
  constructor(private readonly startSec = 1_700_000_000) {}

  now(): Time {
    const whole = Math.floor(this.#ms / 1000);
    return { sec: this.startSec + whole, nsec: Math.floor((this.#ms - whole * 1000) * 1e6) };
  }

  monotonicMs(): number {
    return this.#ms;
  }

  after(ms: number, fn: () => void): Cancel {
    const timer = { at: this.#ms + Math.max(0, ms), order: this.#order++, fn };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((t) => t !== timer);
    };
  }

  /** How many timers are set. */
  get timers(): number {
    return this.#timers.length;
  }

  /** Until the next timer is due; Infinity: none is set. */
  get nextMs(): number {
    return Math.max(0, Math.min(...this.#timers.map(({ at }) => at)) - this.#ms);
  }

  /** Lets time pass; fires what is due, in order, and lets promises settle after each. */
  async advance(ms: number): Promise<void> {
    const end = this.#ms + ms;
    await settle();
    for (;;) {
      const due = this.#timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((t) => t !== due);
      this.#ms = Math.max(this.#ms, due.at);
      due.fn();
      await settle();
    }
    this.#ms = end;
    await settle();
  }

  /** Lets time pass within this turn: what is due fires before anything else can happen. */
  jump(ms: number): void {
    this.#ms += ms;
    for (const due of this.#timers.filter((t) => t.at <= this.#ms).sort((a, b) => a.at - b.at || a.order - b.order)) {
      if (!this.#timers.includes(due)) continue;
      this.#timers = this.#timers.filter((t) => t !== due);
      due.fn();
    }
  }

  /** Time passes but nothing fires: an event loop that was stuck. What was due fires with the next advance. */
  stall(ms: number): void {
    this.#ms += ms;
  }
}

/** Lets everything that is ready run: microtasks and a few rounds of the event loop. */
export async function settle(rounds = 5): Promise<void> {
  for (let i = 0; i < rounds; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Lets the event loop turn until the condition holds; throws when it does not after many turns. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let turn = 0; turn < 2000; turn++) {
    if (await condition()) return;
    await settle(1);
  }
  throw new Error("the condition never held");
}
