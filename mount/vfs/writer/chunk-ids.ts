import type { MetaClient } from "../ports.js";
import { SELF } from "../core.js";

/** Ids asked for at a time, and how many are left when the next are asked for. */
const IDS_PER_REQUEST = 64;
const IDS_LOW = 16;

/** Chunk ids that the metadata daemon gave to this session; each is handed out once. */
export class ChunkIds {
  #ids: number[] = [];
  #request: Promise<void> | undefined;
  /** Raised when the session ended: an answer of the old one is void. */
  #life = 0;

  constructor(private readonly meta: MetaClient) {}

  async next(): Promise<number> {
    for (;;) {
      const id = this.#ids.shift();
      if (this.#ids.length < IDS_LOW) this.#ask().catch(() => {});
      if (id !== undefined) return id;
      await this.#ask();
    }
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
    const request = this.meta.call("alloc", { count: IDS_PER_REQUEST }, SELF).then(
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
