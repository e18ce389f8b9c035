import type { FsError } from "../../proto/errno.js";
import type { ChunkIndex } from "./chunk-index.js";
import { codeOf, diskError, type Disk } from "./disk.js";
import type { Layout } from "../common/chunks/layout.js";
import { Budget, eachOf } from "./parallel.js";
import type { SyncJournal, SyncedChunk } from "./sync-journal.js";

export interface SyncQueueParts {
  readonly disk: Disk;
  readonly layout: Layout;
  readonly journal: SyncJournal;
  readonly index: ChunkIndex;
  /** Takes a copy out of sight whose fsync failed. */
  readonly lose: (id: number, why: FsError) => Promise<void>;
}

export interface Fsynced {
  /** Those of the asked that are fsynced now. */
  readonly synced: number[];
  /** Those that are not here, or not any more. */
  readonly lost: number[];
}

/** Fsyncs at once: they hold threads that reads need as well. */
const WIDTH = 2;

/** The chunks whose fsync is due. */
export class SyncQueue {
  /** Each with the number of its write, so that one that was lost and stored again is not taken for the first. */
  readonly #due = new Map<number, number>();
  readonly #gate = new Budget(WIDTH);
  #writes = 0;

  constructor(private readonly parts: SyncQueueParts) {}

  get size(): number {
    return this.#due.size;
  }

  add(id: number): void {
    this.#due.set(id, ++this.#writes);
  }

  forget(id: number): void {
    this.#due.delete(id);
  }

  /** Fsyncs those chunks, by default all that are due. A copy whose fsync fails is lost. */
  async sync(ids: Iterable<number> = [...this.#due.keys()]): Promise<Fsynced> {
    const wanted = new Set(ids);
    /** By folder: those whose file is fsynced, each with its write. */
    const files = new Map<string, Map<number, number>>();
    await eachOf(wanted, WIDTH, async (id) => {
      const write = this.#due.get(id);
      const folder = this.parts.layout.folderOf(id);
      if (write === undefined || !(await this.#succeeds(this.parts.layout.pathOf(id), new Map([[id, write]])))) return;
      files.set(folder, (files.get(folder) ?? new Map<number, number>()).set(id, write));
    });
    const done = new Map<number, number>();
    await eachOf(files, WIDTH, async ([folder, chunks]) => {
      if (await this.#succeeds(folder, chunks)) for (const [id, write] of chunks) done.set(id, write);
    });
    await this.#record(done);
    const held = [...wanted].map((id) => ({ id, entry: this.parts.index.get(id) }));
    return {
      synced: held.filter(({ entry }) => entry?.synced === true).map(({ id }) => id),
      lost: held.filter(({ entry }) => entry === undefined).map(({ id }) => id),
    };
  }

  /** Fsyncs a file or a folder that these chunks need. */
  async #succeeds(path: string, chunks: ReadonlyMap<number, number>): Promise<boolean> {
    try {
      await this.#fsync(path);
      return true;
    } catch (error) {
      // Then it was not even opened, and is asked again.
      if (codeOf(error) === "EMFILE" || codeOf(error) === "ENFILE") return false;
      // What the kernel failed to write it forgets: a second fsync would succeed without the bytes being there.
      for (const [id, write] of chunks) {
        if (this.#due.get(id) === write) await this.parts.lose(id, diskError(error, "fsync"));
      }
      return false;
    }
  }

  #fsync(path: string): Promise<void> {
    return this.#gate.run(1, () => this.parts.disk.sync(path));
  }

  async #record(done: ReadonlyMap<number, number>): Promise<void> {
    const fresh: SyncedChunk[] = [];
    for (const [id, write] of done) {
      const entry = this.parts.index.get(id);
      if (entry === undefined || this.#due.get(id) !== write) continue;
      this.#due.delete(id);
      this.parts.index.set(id, { ...entry, synced: true });
      fresh.push({ id, len: entry.len, crc: entry.crc });
    }
    if (fresh.length > 0) await this.parts.journal.synced(fresh);
  }
}
