/** Work on many files: so much at a time; what fails does not keep the rest. */
export class Pool {
  readonly #waiting: (() => Promise<void>)[] = [];
  #running = 0;
  #wake: (() => void)[] = [];

  /**
   * `ahead`: work that may wait to begin. `failed`: of each piece of work that fails. Nothing begins when `signal` is
   * aborted.
   */
  constructor(
    private readonly opts: {
      readonly size: number;
      readonly ahead: number;
      readonly signal: AbortSignal;
      readonly failed: (error: unknown) => void;
    },
  ) {}

  /** Resolves when there is room for more. */
  async add(work: () => Promise<void>): Promise<void> {
    this.#waiting.push(work);
    this.#fill();
    while (this.#waiting.length > this.opts.ahead) await this.#change();
  }

  /** Resolves when everything that was added is over. */
  async idle(): Promise<void> {
    while (this.#running > 0 || this.#waiting.length > 0) await this.#change();
  }

  #fill(): void {
    const { size, signal, failed } = this.opts;
    if (signal.aborted) this.#waiting.length = 0;
    while (this.#running < size) {
      const work = this.#waiting.shift();
      if (work === undefined) return;
      this.#running++;
      void work()
        .catch(failed)
        .finally(() => this.#ended());
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  #ended(): void {
    this.#running--;
    this.#fill();
    for (const wake of this.#wake.splice(0)) wake();
  }
}
