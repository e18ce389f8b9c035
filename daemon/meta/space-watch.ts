import { statfs } from "node:fs/promises";
import type { Logger } from "pino";

/** Below so much free space on the disk of the metadata, only deletions are accepted: they need some room themselves. */
const RESERVE_BYTES = 64 * 1024 * 1024;
/** So much more must be free before everything is accepted again. */
const RELIEF_BYTES = 16 * 1024 * 1024;

/** Whether the disk that holds a folder is nearly full. */
export class SpaceWatch {
  #isLow = false;

  constructor(
    private readonly parts: { readonly log: Logger },
    private readonly dir: string,
  ) {}

  get isLow(): boolean {
    return this.#isLow;
  }

  async look(): Promise<void> {
    const { bavail, bsize } = await statfs(this.dir);
    const free = bavail * bsize;
    const isLow = free < RESERVE_BYTES + (this.#isLow ? RELIEF_BYTES : 0);
    if (isLow === this.#isLow) return;
    this.#isLow = isLow;
    if (isLow) this.parts.log.error({ dir: this.dir, free }, "the disk of the metadata is nearly full: deletions only");
    else this.parts.log.info({ dir: this.dir, free }, "the disk of the metadata has room again");
  }
}
