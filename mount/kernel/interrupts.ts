import { FsError } from "../../proto/errno.js";
import type { Maybe } from "../vfs/filesystem.js";

/** Made once: an abort without a reason makes an error with a stack. */
const OVER = new FsError("EINTR");

/** What names a request. */
interface Unique {
  readonly low: number;
  readonly high: number;
}

/**
 * Requests that a signal may end: those that wait for others, of whom nobody knows how long they take. Everything else
 * is finished and answered, so that a signal does not make a healthy close an EIO.
 */
export class Interrupts {
  readonly #waits = new Map<string, AbortController>();

  /** Runs the work with a signal that is aborted when this request is interrupted. */
  during<T>(unique: Unique, work: (wait: AbortSignal) => Maybe<T>): Maybe<T> {
    const name = nameOf(unique);
    const wait = new AbortController();
    this.#waits.set(name, wait);
    const done = (): void => void this.#waits.delete(name);
    const value = work(wait.signal);
    if (!(value instanceof Promise)) {
      done();
      return value;
    }
    return value.finally(done);
  }

  interrupt(unique: Unique): void {
    this.#waits.get(nameOf(unique))?.abort(OVER);
  }

  /** Nobody waits for answers any more. */
  all(): void {
    for (const wait of this.#waits.values()) wait.abort(OVER);
  }
}

function nameOf({ low, high }: Unique): string {
  return `${high}:${low}`;
}
