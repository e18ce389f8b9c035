/** Work on many files: so much at a time; what fails does not keep the rest. */
export class Pool {
  #running = 0;
  #failures = 0;
  #wake: (() => void)[] = [];

  constructor(
    private readonly size: number,
    private readonly opts: {
      readonly signal: AbortSignal;
      /** Of each piece of work that fails, but for those that were interrupted. */
      readonly failed: (error: unknown) => void;
    },
  ) {}

  /** How many pieces of work have failed. */
  get failures(): number {
    return this.#failures;
  }

  /** Resolves when the work has begun. Nothing new begins after an interruption. */
  async begin(work: () => Promise<void>): Promise<void> {
    while (this.#running >= this.size) await new Promise<void>((resolve) => this.#wake.push(resolve));
    if (this.opts.signal.aborted) return;
    this.#running++;
    void work()
      .catch((error: unknown) => {
        if (this.opts.signal.aborted) return;
        this.#failures++;
        this.opts.failed(error);
      })
      .finally(() => this.#ended());
  }

  /** Resolves when everything that was begun is over. */
  async idle(): Promise<void> {
    while (this.#running > 0) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  #ended(): void {
    this.#running--;
    for (const wake of this.#wake.splice(0)) wake();
  }
}
