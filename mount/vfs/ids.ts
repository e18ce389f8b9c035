import type { MetaClient } from "./ports.js";
import { SELF } from "./core.js";

export interface IdsOptions {
  /** The request that gives them. */
  readonly from: "alloc" | "inodes";
  /** Asked for at a time. */
  readonly perRequest: number;
  /** So many are left when the next are asked for. */
  readonly low: number;
}

/** Ids of chunks or inodes that the metadata daemon gave to this session; each is handed out once. */
export class Ids {
  #ids: number[] = [];
  #request: Promise<void> | undefined;
  /** Raised when the session ended: an answer of the old one is void. */
  #life = 0;

  constructor(
    private readonly meta: MetaClient,
    private readonly opts: IdsOptions,
  ) {}

  async next(): Promise<number> {
    for (;;) {
      const id = this.take();
      if (id !== undefined) return id;
      await this.#ask();
    }
  }

  /** Undefined: there is none at hand; more are on their way. */
  take(): number | undefined {
    const id = this.#ids.shift();
    if (this.#ids.length < this.opts.low) this.#ask().catch(() => {});
    return id;
  }

  /** They belonged to a session that is no more. */
  burn(): void {
    this.#life += 1;
    this.#ids = [];
    this.#request = undefined;
  }

  #ask(): Promise<void> {
    if (this.#request !== undefined) return this.#request;
    const life = this.#life;
    const { from, perRequest } = this.opts;
    const request = this.meta.call(from, { count: perRequest }, SELF).then(
      ({ first, count }) => {
        if (life !== this.#life) return;
        this.#request = undefined;
        for (let i = 0; i < count; i++) this.#ids.push(first + i);
      },
      (error: unknown) => {
        if (life === this.#life) this.#request = undefined;
        throw error;
      },
    );
    this.#request = request;
    return request;
  }
}
