/** How far a read may be from where the last one ended and still count as the next: the kernel sends several at once. */
const SLACK = 1024 * 1024;

/** Chunks that are fetched ahead at most. */
const AHEAD_MAX = 8;

/** How one handle reads: from front to back, or here and there. */
export class ReadPattern {
  #next = 0;
  #slot = 0;
  #reads = 0;
  #window = 0;
  /** One past the highest slot that was fetched ahead. */
  ahead = 0;
  /** The slots behind the known ones are being asked for. */
  isAsking = false;

  constructor(private readonly slotSize: number) {}

  /**
   * Takes a read; returns how many slots behind it are worth fetching, or undefined when it does not go on from the last
   * one. A first read counts as going on when it is at the start of the file.
   */
  note(off: number, len: number): number | undefined {
    const goesOn = Math.abs(off - this.#next) <= (this.#reads === 0 ? 0 : SLACK);
    const slot = Math.floor((off + len - 1) / this.slotSize);
    if (!goesOn) {
      this.#next = off + len;
      this.#slot = slot;
      this.#reads = 1;
      this.#window = 0;
      this.ahead = 0;
      return undefined;
    }
    this.#reads += 1;
    this.#next = Math.max(this.#next, off + len);
    if (slot > this.#slot) this.#window = Math.min(AHEAD_MAX, Math.max(1, this.#window * 2));
    else if (this.#reads > 1) this.#window = Math.max(1, this.#window);
    this.#slot = Math.max(slot, this.#slot);
    return this.#window;
  }
}
