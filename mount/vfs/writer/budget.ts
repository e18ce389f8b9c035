/** Memory for data that is written but not stored, of all files together. */
export class Budget {
  #used = 0;
  #waiting: (() => void)[] = [];

  constructor(
    readonly limit: number,
    /** Called when somebody has to wait: make room. */
    private readonly pressure: () => void,
  ) {}

  get used(): number {
    return this.#used;
  }

  fits(bytes: number): boolean {
    return this.#used + bytes <= this.limit;
  }

  add(bytes: number): void {
    this.#used += bytes;
  }

  give(bytes: number): void {
    this.#used -= bytes;
    if (this.#used > this.limit || this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }

  /** For who has just added: undefined, or resolves when the memory in use is within the limit again. */
  room(): Promise<void> | undefined {
    if (this.#used <= this.limit) return undefined;
    const wait = new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.pressure();
    return wait;
  }
}

/** What a few bytes cost with everything that is kept about them (measured: 2 to 3 KiB). */
const BLOCK_COST_MIN = 2048;

/** A piece of that memory. It is given back when nobody holds it any more. */
export class Block {
  readonly bytes: Buffer;
  /** Bytes from the start that have been handed out; the rest is free to grow into. */
  used = 0;
  #holders = 1;
  readonly #cost: number;

  constructor(
    private readonly budget: Budget,
    capacity: number,
  ) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
    this.#cost = Math.max(capacity, BLOCK_COST_MIN);
    budget.add(this.#cost);
  }

  hold(): this {
    this.#holders += 1;
    return this;
  }

  drop(): void {
    this.#holders -= 1;
    if (this.#holders === 0) this.budget.give(this.#cost);
  }
}
