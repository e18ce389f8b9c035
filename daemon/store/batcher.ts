interface Waiting<T> {
  readonly item: T;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Gathers items while the batch before them is under way, so that batches form by themselves under load and nothing
 * waits without it. A batch that is refused is tried again item by item, so that one bad item costs only itself.
 */
export class Batcher<T> {
  #waiting: Waiting<T>[] = [];
  #isBusy = false;

  constructor(
    private readonly send: (items: readonly T[]) => Promise<void>,
    /** Items in one batch. */
    private readonly most = 1000,
    /** What comes until this resolves goes along; default: what is added in the same turn. */
    private readonly gathered: () => Promise<void> = () => Promise.resolve(),
  ) {}

  /** Resolves when the item's batch was accepted. */
  add(item: T): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (!this.#isBusy) void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#isBusy = true;
    await this.gathered();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.most);
      if (!(await this.#deliver(batch, batch.length === 1))) for (const one of batch) await this.#deliver([one], true);
    }
    this.#isBusy = false;
  }

  /** False when it was refused and nobody was told. */
  async #deliver(batch: readonly Waiting<T>[], isFinal: boolean): Promise<boolean> {
    try {
      await this.send(batch.map(({ item }) => item));
    } catch (error) {
      if (isFinal) for (const { reject } of batch) reject(error);
      return isFinal;
    }
    for (const { resolve } of batch) resolve();
    return true;
  }
}
