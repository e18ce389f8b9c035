/** What can be told to stop reading from its peer for a while. */
export interface Source {
  pause(): void;
  resume(): void;
}

/** One source that several intakes may pause: it is read from when none of them has it paused. */
export class Valve implements Source {
  #pauses = 0;

  constructor(private readonly source: Source) {}

  pause(): void {
    if (++this.#pauses === 1) this.source.pause();
  }

  resume(): void {
    if (--this.#pauses === 0) this.source.resume();
  }
}

/**
 * Bounds what has arrived and is not yet dealt with: above the bound no source is read from, so that its sender waits.
 *
 * One intake for chunks from clients, another for copies from other nodes: a chunk from a client waits for copies
 * elsewhere, a copy waits for the disk alone, so nodes that wait for each other's copies cannot wait in a circle.
 */
export class Intake {
  #amount = 0;
  #isPaused = false;
  readonly #sources = new Set<Source>();

  constructor(private readonly most: number) {}

  add(source: Source): void {
    this.#sources.add(source);
    if (this.#isPaused) source.pause();
  }

  remove(source: Source): void {
    this.#sources.delete(source);
  }

  /** So much has arrived. */
  took(amount: number): void {
    this.#amount += amount;
    if (this.#isPaused || this.#amount <= this.most) return;
    this.#isPaused = true;
    for (const source of this.#sources) source.pause();
  }

  /** So much is dealt with. */
  gave(amount: number): void {
    this.#amount -= amount;
    if (!this.#isPaused || this.#amount > this.most / 2) return;
    this.#isPaused = false;
    for (const source of this.#sources) source.resume();
  }
}
