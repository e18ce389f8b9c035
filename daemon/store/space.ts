import { fail } from "../../proto/errno.js";
import type { Disk } from "./disk.js";

export interface SpaceOptions {
  readonly folder: string;
  /** Bytes that chunks may take; undefined: what the disk has. */
  readonly capacity: number | undefined;
  /** Bytes of the disk that stay free. */
  readonly reserve: number;
}

/** Disks give space in blocks of this size. */
const BLOCK = 4096;

/**
 * Counts what chunks take, and says no before the disk is full.
 *
 * Invariant: `used` is the sum over all chunk files, in whole blocks, plus what is promised to writes under way.
 */
export class Space {
  #used = 0;
  /** What the disk could still take at the last look, less what was taken since. */
  #room = 0;

  constructor(
    private readonly disk: Disk,
    private readonly opts: SpaceOptions,
  ) {}

  /** Bytes that chunks take. */
  get used(): number {
    return this.#used;
  }

  /** Bytes that chunks may take in all, as far as is known since the last look at the disk. */
  get capacity(): number {
    return Math.min(this.opts.capacity ?? Infinity, this.#used + Math.max(0, this.#room));
  }

  /** Looks how much the disk has. */
  async refresh(): Promise<void> {
    this.#room = (await this.disk.free(this.opts.folder)) - this.opts.reserve;
  }

  /** Counts a file that is there already. */
  count(bytes: number): void {
    this.#used += blocks(bytes);
  }

  /** ENOSPC when a file of that many bytes has no room. */
  async mustHaveRoom(bytes: number): Promise<void> {
    const need = blocks(bytes);
    if (this.#room < need) await this.refresh();
    if (this.#room < need) fail("ENOSPC", "the disk is full up to its reserve");
    if (this.#used + need > (this.opts.capacity ?? Infinity)) fail("ENOSPC", "the capacity of this node is used up");
  }

  /** Promises space for a file; ENOSPC. */
  async take(bytes: number): Promise<void> {
    await this.mustHaveRoom(bytes);
    this.#used += blocks(bytes);
    this.#room -= blocks(bytes);
  }

  /** The file is gone, or was not written after all. */
  give(bytes: number): void {
    this.#used -= blocks(bytes);
    this.#room += blocks(bytes);
  }

  /** The disk says that it is full, whatever the last look said. */
  exhausted(): void {
    this.#room = 0;
  }
}

function blocks(bytes: number): number {
  return Math.ceil(bytes / BLOCK) * BLOCK;
}
