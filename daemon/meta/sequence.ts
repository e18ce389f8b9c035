/** Work that is done one after the other, and work that waits until that is done. */
export class Sequence {
  #tail: Promise<void> | undefined;

  /** `run` must not reject. */
  add(run: () => Promise<void>): void {
    const tail: Promise<void> = (this.#tail ?? Promise.resolve()).then(run).finally(() => {
      if (this.#tail === tail) this.#tail = undefined;
    });
    this.#tail = tail;
  }

  /** At once when nothing is to be done first. */
  after(run: () => void): void {
    if (this.#tail === undefined) run();
    else void this.#tail.then(run);
  }
}
