import { fail } from "../../proto/errno.js";

/** Numbers for what is open; each is given once. */
export class Handles<T> {
  readonly #open = new Map<number, T>();
  #last = 0;

  get size(): number {
    return this.#open.size;
  }

  add(make: (handle: number) => T): T {
    const handle = ++this.#last;
    const made = make(handle);
    this.#open.set(handle, made);
    return made;
  }

  /** EBADF when there is none. */
  get(handle: number): T {
    return this.#open.get(handle) ?? fail("EBADF");
  }

  all(): Iterable<T> {
    return this.#open.values();
  }

  remove(handle: number): void {
    this.#open.delete(handle);
  }
}
