import type { Clock } from "../../daemon/common/clock.js";
import { FsError } from "../../proto/errno.js";

/** Runs one piece of work at a time, in the order in which they were asked for. */
export class Mutex {
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;

  /** Something runs or waits. */
  get isBusy(): boolean {
    return this.#waiting > 0;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting += 1;
    const result = this.#tail.then(work);
    this.#tail = result.then(
      () => this.#leave(),
      () => this.#leave(),
    );
    return result;
  }

  /** Resolves when everything asked for until now has ended. */
  idle(): Promise<void> {
    return this.#tail;
  }

  #leave(): void {
    this.#waiting -= 1;
  }
}

/** At most `size` holders; the others wait in order. */
export class Semaphore {
  #free: number;
  readonly #queue: (() => void)[] = [];

  constructor(size: number) {
    this.#free = size;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#queue.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

/** Resolves after `ms`, or rejects at once with EINTR when the signal is (or gets) aborted. */
export function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(new FsError("EINTR"));
    const abort = (): void => {
      cancel();
      reject(new FsError("EINTR"));
    };
    const cancel = clock.after(ms, () => {
      signal?.removeEventListener("abort", abort);
      resolve();
    });
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/**
 * The work's result, or ETIMEDOUT after `ms`, or EINTR when the signal is aborted; what the work does later is nobody's
 * concern then.
 */
export function within<T>(clock: Clock, ms: number, work: Promise<T>, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new FsError("EINTR"));
    const cancel = clock.after(ms, () => reject(new FsError("ETIMEDOUT")));
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted === true) abort();
    work.then(resolve, reject).finally(() => {
      cancel();
      signal?.removeEventListener("abort", abort);
    });
  });
}

/**
 * For AbortController.abort() when what was asked for is not wanted any more; made once, because an abort without a
 * reason makes an error with a stack.
 */
export const OVER = new FsError("EINTR", "nobody waits for it any more");

/** Pauses between tries: doubles from `minMs` to `maxMs`. */
export class Backoff {
  #next: number;

  constructor(
    private readonly clock: Clock,
    minMs: number,
    private readonly maxMs: number,
  ) {
    this.#next = minMs;
  }

  async wait(signal?: AbortSignal): Promise<void> {
    const ms = this.#next;
    this.#next = Math.min(this.maxMs, ms * 2);
    await pause(this.clock, ms, signal);
  }
}

/** What was thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error("something that is no error was thrown", { cause: thrown });
}
