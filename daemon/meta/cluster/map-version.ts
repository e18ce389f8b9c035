import type { Logger } from "pino";
import type { Executor } from "../executor.js";
import { key } from "../keys.js";
import { volumeOf } from "../rules/volume.js";

/** Versions that one commit reserves. */
const RESERVED = 1024;

/**
 * Numbers the node maps, always growing, also over lives of the daemon: the row says up to which number they may have
 * been used, so that a change of state needs no commit.
 */
export class MapVersion {
  #current = 0;
  #reserved = 0;

  constructor(private readonly parts: { readonly executor: Executor; readonly log: Logger }) {}

  get current(): number {
    return this.#current;
  }

  /** The first of this life. */
  async load(): Promise<void> {
    const reserved = await this.#reserve();
    this.#current = reserved - RESERVED + 1;
  }

  next(): number {
    this.#current++;
    if (this.#reserved - this.#current === RESERVED / 2) {
      this.#reserve().catch((error: unknown) => this.parts.log.error({ err: error }, "no new node map versions"));
    }
    return this.#current;
  }

  async #reserve(): Promise<number> {
    const { executor } = this.parts;
    const { value, batch } = await executor.execute(0, (tx) => {
      const volume = volumeOf(tx);
      const nodeMapVersion = volume.nodeMapVersion + RESERVED;
      tx.put(key.volume, { ...volume, nodeMapVersion });
      return nodeMapVersion;
    });
    await executor.whenDurable(batch);
    this.#reserved = value;
    return value;
  }
}
