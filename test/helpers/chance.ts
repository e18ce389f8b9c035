/** Chance that can be repeated: the same seed, the same events (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 <= x < 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer 0 <= x < n; 0 for n < 1. */
  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  happens(share: number): boolean {
    return share > 0 && this.next() < share;
  }

  /** Turns of the event loop that something takes: mostly few, now and then many. */
  turns(): number {
    return this.happens(0.15) ? this.below(60) : this.below(3);
  }
}
