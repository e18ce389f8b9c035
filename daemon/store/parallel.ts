/**
 * Runs `work` on every item, at most `width` at a time, in order of the items. Rejects with the first failure, once all
 * that had begun is done; nothing new begins after it.
 */
export async function eachOf<T>(items: Iterable<T>, width: number, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]();
  let isFailed = false;
  const worker = async (): Promise<void> => {
    for (let next = rest.next(); !next.done && !isFailed; next = rest.next()) {
      try {
        await work(next.value);
      } catch (error) {
        isFailed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: width }, worker));
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/** One at a time for each key, in the order of asking. */
export class KeyedLock {
  readonly #last = new Map<number, Promise<void>>();

  async run<T>(key: number, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key);
    const result = before === undefined ? work() : before.then(work);
    const done = result.then(
      () => {},
      () => {},
    );
    this.#last.set(key, done);
    try {
      return await result;
    } finally {
      if (this.#last.get(key) === done) this.#last.delete(key);
    }
  }
}

/**
 * A bound on something that is taken and given back, first come first served. One that wants more than the whole bound
 * gets it when nobody else has any.
 */
export class Budget {
  #taken = 0;
  readonly #waiting: { readonly amount: number; readonly go: () => void }[] = [];

  constructor(readonly total: number) {}

  get taken(): number {
    return this.#taken;
  }

  take(amount: number): Promise<void> {
    if (this.#waiting.length === 0 && this.#fits(amount)) {
      this.#taken += amount;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#waiting.push({ amount, go: resolve });
    });
  }

  give(amount: number): void {
    this.#taken -= amount;
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.amount); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#taken += next.amount;
      next.go();
    }
  }

  /** Runs `work` while holding `amount`. */
  async run<T>(amount: number, work: () => Promise<T>): Promise<T> {
    await this.take(amount);
    try {
      return await work();
    } finally {
      this.give(amount);
    }
  }

  #fits(amount: number): boolean {
    return this.#taken === 0 || this.#taken + amount <= this.total;
  }
}
