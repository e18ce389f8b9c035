import type { Time } from "../../proto/gen/bigfs/v1/rows.js";

/** Cancels a timer; harmless when it has fired. */
export type Cancel = () => void;

/** Time as a parameter. The only other file that may touch timers is the one that implements this for real. */
export interface Clock {
  /** Wall time. */
  now(): Time;
  /** Milliseconds, only growing, of no particular origin. */
  monotonicMs(): number;
  /** Calls `fn` once after `ms` milliseconds; never keeps the process alive. */
  after(ms: number, fn: () => void): Cancel;
}

/** The machine's clock. */
export const systemClock: Clock = {
  now() {
    const ns = process.hrtime.bigint() + WALL_OFFSET_NS();
    return { sec: Number(ns / 1_000_000_000n), nsec: Number(ns % 1_000_000_000n) };
  },
  monotonicMs() {
    return performance.now();
  },
  after(ms, fn) {
    const timer = setTimeout(fn, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Resolves when the work has ended, but after `ms` at the latest; rejects as the work does. */
export async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  let cancel: Cancel = () => {};
  const over = new Promise<void>((resolve) => {
    cancel = clock.after(ms, resolve);
  });
  await Promise.race([work, over]).finally(() => cancel());
}

/** Keeps the process alive until it is cancelled, also while all that it waits for are timers. */
export function keepAlive(): Cancel {
  const timer = setInterval(() => {}, 2 ** 31 - 1);
  return () => clearInterval(timer);
}

/** Wall minus monotonic nanoseconds, measured anew when the wall clock has moved by more than a millisecond. */
const WALL_OFFSET_NS = (() => {
  let offset = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
  return () => {
    const fresh = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
    const drift = fresh - offset;
    if (drift > 1_000_000n || drift < -2_000_000n) offset = fresh;
    return offset;
  };
})();
