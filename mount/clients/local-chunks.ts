import { ChunkReader, type KnownChunk } from "../../daemon/common/chunks/chunk-reader.js";
import { Layout } from "../../daemon/common/chunks/layout.js";
import { openFile } from "../../daemon/common/chunks/open-file.js";
import type { Cancel, Clock } from "../../daemon/common/clock.js";
import { isHere } from "../../daemon/common/process.js";
import { Semaphore, within } from "../vfs/waiting.js";
import type { ChunkReply } from "../../proto/gen/bigfs/v1/store.js";

/** Reads of one daemon's files at once: when its disk hangs, the threads that others' need are not all lost to it. */
const WIDTH = 2;
/** Chunk files that stay open for reads here and there. */
const FILES_MAX = 512;
/** A file that nobody has read for so long, or up to twice as long, is closed: its chunk may have been deleted. */
const IDLE_MS = 2_000;

/**
 * The chunk files of a storage daemon on this machine, read without asking it ("short-circuit reads", as in HDFS). Chunks
 * never change and are verified, so what can be read is right; what cannot be read the daemon is asked for, who then
 * finds out what is wrong with it.
 */
export class LocalChunks {
  readonly #reader: ChunkReader;
  readonly #lanes = new Semaphore(WIDTH);
  #cancelSweep: Cancel | undefined;

  private constructor(
    folder: string,
    private readonly clock: Clock,
  ) {
    const layout = new Layout(folder);
    this.#reader = new ChunkReader((id) => openFile(layout.pathOf(id)), FILES_MAX);
  }

  /** What a daemon answered to Locate; undefined: it is on another machine. */
  static of({ process, folder }: ChunkReply, clock: Clock): LocalChunks | undefined {
    // As that process sees it: it may have other mounts than this one.
    return isHere(process) ? new LocalChunks(`/proc/${process.pid}/root${folder}`, clock) : undefined;
  }

  /** Bytes off..off+len, verified. Rejects when they cannot be had, for whatever reason; ETIMEDOUT: not within `ms`. */
  read(chunk: KnownChunk, off: number, len: number, ms: number): Promise<Buffer> {
    this.#cancelSweep ??= this.clock.after(IDLE_MS, () => this.#sweep());
    return within(
      this.clock,
      ms,
      this.#lanes.run(() => this.#reader.read(chunk, off, len)),
    );
  }

  close(): void {
    this.#cancelSweep?.();
    this.#reader.close();
  }

  #sweep(): void {
    this.#cancelSweep = this.#reader.sweep() ? this.clock.after(IDLE_MS, () => this.#sweep()) : undefined;
  }
}
