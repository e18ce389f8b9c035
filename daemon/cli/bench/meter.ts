import type { Clock } from "../../common/clock.js";

/** What the threads of a benchmark share with the one that waits for them, as places in `control`. */
const STOP = 0;
const DONE = 1;

/** Lets one thread stop the others and see how far they are. */
export class Control {
  constructor(readonly shared: Int32Array = new Int32Array(new SharedArrayBuffer(8))) {}

  stop(): void {
    Atomics.store(this.shared, STOP, 1);
  }

  get isStopped(): boolean {
    return Atomics.load(this.shared, STOP) !== 0;
  }

  count(): void {
    Atomics.add(this.shared, DONE, 1);
  }

  /** Calls that were made since the last `resetCount`. */
  get counted(): number {
    return Atomics.load(this.shared, DONE);
  }

  resetCount(): void {
    Atomics.store(this.shared, DONE, 0);
  }
}

/** The benchmark was told to stop. */
export class Stopped extends Error {
  override readonly name = "Stopped";
}

/** What one thread measured: milliseconds for each call, and from the begin of the first to the end of the last. */
export interface Measured {
  readonly samples: Float64Array;
  readonly elapsedMs: number;
}

/** Times calls. What is done between two calls counts as elapsed, what is done before the first or after the last does not. */
export class Meter {
  readonly #samples: Float64Array;
  #count = 0;
  #beginMs = 0;
  #endMs = 0;

  /** `calls`: how many there will be. */
  constructor(
    private readonly clock: Clock,
    private readonly control: Control,
    calls: number,
  ) {
    this.#samples = new Float64Array(calls);
  }

  /** Makes a call and times it. Throws Stopped. */
  time<T>(call: () => T): T {
    if (this.control.isStopped) throw new Stopped();
    const beginMs = this.clock.monotonicMs();
    const result = call();
    const endMs = this.clock.monotonicMs();
    if (this.#count === 0) this.#beginMs = beginMs;
    this.#endMs = endMs;
    this.#samples[this.#count++] = endMs - beginMs;
    this.control.count();
    return result;
  }

  measured(): Measured {
    return { samples: this.#samples.slice(0, this.#count), elapsedMs: this.#endMs - this.#beginMs };
  }
}
