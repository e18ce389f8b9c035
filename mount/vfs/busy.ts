import type { Maybe } from "./filesystem.js";

/**
 * Inodes and folders of kernel requests that are not answered yet. The kernel holds locks for them, so a notification
 * about them may wait for our answer: nobody may then wait for the notification.
 */
export class Busy {
  readonly #counts = new Map<number, number>();

  has(ino: number): boolean {
    return this.#counts.has(ino);
  }

  /** Runs the handler of a request that concerns these inodes. */
  during<T>(inos: readonly number[], work: () => Maybe<T>): Maybe<T> {
    const result = work();
    if (!(result instanceof Promise)) return result;
    for (const ino of inos) this.#counts.set(ino, (this.#counts.get(ino) ?? 0) + 1);
    return result.finally(() => {
      for (const ino of inos) this.#leave(ino);
    });
  }

  #leave(ino: number): void {
    const left = (this.#counts.get(ino) ?? 1) - 1;
    if (left > 0) this.#counts.set(ino, left);
    else this.#counts.delete(ino);
  }
}
