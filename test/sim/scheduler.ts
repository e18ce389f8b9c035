/**
 * Simulated time. Everything that happens in a simulation is an event here, and the seed alone decides their order: by
 * time, and by chance among those of one time. Between two events all promises that can settle do.
 *
 * Nothing may wait for anything real: no I/O, no timer of the machine.
 */
import { createHash } from "node:crypto";
import type { Cancel, Clock } from "../../daemon/common/clock.js";
import type { Random } from "../../daemon/common/random.js";
import { Chance } from "../helpers/chance.js";

interface Event {
  at: number;
  turn: number;
  readonly what: string;
  readonly life: Life | undefined;
  readonly fn: () => void;
  isCancelled: boolean;
}

/** Wall time of simulated time 0, in seconds. */
const START_SEC = 1_700_000_000;

export class Scheduler {
  readonly chance: Chance;
  /** The latest events and what was said about them. */
  readonly trace: string[] = [];
  events = 0;
  #nowMs = 0;
  readonly #queue = new Heap();
  readonly #hash = createHash("sha256");

  /** `lines`: of the trace that are kept, at least. */
  constructor(
    seed: number,
    private readonly lines: number,
  ) {
    this.chance = new Chance(Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995);
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** What has happened, as one number: the same for the same seed. */
  get hash(): string {
    return this.#hash.copy().digest("hex").slice(0, 16);
  }

  /** Calls `fn` after `ms`, unless that life has ended by then; a life that stands still gets it when it goes on. */
  after(ms: number, what: string, life: Life | undefined, fn: () => void): Cancel {
    const event = { at: this.#nowMs + Math.max(0, ms), turn: this.chance.next(), what, life, fn, isCancelled: false };
    this.#queue.push(event);
    return () => {
      event.isCancelled = true;
    };
  }

  /** A pause of nobody in particular. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, "pause", undefined, resolve));
  }

  note(what: string): void {
    const line = `${this.#nowMs.toFixed(3)} ${what}`;
    this.#hash.update(line);
    this.trace.push(line);
    if (this.trace.length > 2 * this.lines) this.trace.splice(0, this.lines);
  }

  /** Runs until that is true; throws when nothing is left to happen, or too much has. */
  async runUntil(isOver: () => boolean, eventsMax: number): Promise<void> {
    const last = this.events + eventsMax;
    await drained();
    while (!isOver()) {
      const event = this.#queue.pop();
      if (event === undefined) throw new Error("nothing is left to happen");
      if (event.isCancelled || event.life?.isDead === true) continue;
      this.#nowMs = Math.max(this.#nowMs, event.at);
      const stalledUntilMs = event.life?.stalledUntilMs ?? 0;
      if (stalledUntilMs > this.#nowMs) {
        // In the same order as before.
        event.turn = event.at / 2 ** 40;
        event.at = stalledUntilMs;
        this.#queue.push(event);
        continue;
      }
      if (++this.events > last) throw new Error(`no end after ${eventsMax} events`);
      this.note(event.what);
      event.fn();
      await drained();
    }
  }
}

/** Every promise that can settle now has. */
function drained(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** One run of one process, from its start to its end or crash. What it began is never heard of after a crash. */
export class Life {
  /** Resolves when it has crashed. */
  readonly death: Promise<void>;
  #die!: () => void;
  isDead = false;
  /** It stands still, as by SIGSTOP. */
  stalledUntilMs = 0;
  readonly clock: Clock;
  readonly random: Random;

  constructor(
    readonly scheduler: Scheduler,
    /** The machine, which outlives it. */
    readonly host: string,
    wallOffsetMs: () => number,
  ) {
    const { chance } = scheduler;
    this.death = new Promise((resolve) => (this.#die = resolve));
    const offsetMs = chance.below(1_000_000);
    this.clock = {
      now() {
        const ms = scheduler.nowMs + wallOffsetMs();
        const whole = Math.floor(ms / 1000);
        return { sec: START_SEC + whole, nsec: Math.floor((ms - whole * 1000) * 1e6) };
      },
      monotonicMs: () => scheduler.nowMs + offsetMs,
      // Timers are late, by little.
      after: (ms, fn) => scheduler.after(ms + chance.next(), `timer ${host}`, this, fn),
    };
    const hex = (bytes: number): string =>
      Array.from({ length: bytes }, () => chance.below(256).toString(16).padStart(2, "0")).join("");
    this.random = {
      fraction: () => chance.next(),
      hex,
      uuid: () => `${hex(4)}-${hex(2)}-4${hex(2).slice(1)}-8${hex(2).slice(1)}-${hex(6)}`,
    };
  }

  crash(): void {
    this.isDead = true;
    this.#die();
  }

  /** Resolves after `ms`; never when it has crashed. */
  takes(ms: number, what: string): Promise<void> {
    return new Promise((resolve) => this.scheduler.after(ms, `${what} ${this.host}`, this, resolve));
  }
}

/** The earliest first; of those of one time, the one with the least turn. */
class Heap {
  readonly #items: Event[] = [];

  push(event: Event): void {
    const items = this.#items;
    let at = items.push(event) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!isBefore(event, items[above]!)) break;
      items[at] = items[above]!;
      at = above;
    }
    items[at] = event;
  }

  pop(): Event | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (first === undefined || last === undefined || items.length === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= items.length) break;
      if (below + 1 < items.length && isBefore(items[below + 1]!, items[below]!)) below++;
      if (!isBefore(items[below]!, last)) break;
      items[at] = items[below]!;
      at = below;
    }
    items[at] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at !== b.at ? a.at < b.at : a.turn < b.turn;
}
