import type { FsError } from "../../proto/errno.js";
import type { ChunkIndex } from "./chunk-index.js";
import { codeOf, diskError, type Disk, type WrittenFile } from "./disk.js";
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
/** Files that stay open from their write to their fsync; those beyond are opened again for it. */
const OPEN_MAX = 256;

/**
 * The chunks whose fsync is due.
 *
 * Invariants:
 * - A file that is here is open, its chunk is due, and nothing is done with it: whoever takes it out closes it.
 * - A file taken out for its fsync is closed after that alone, or its number could be another file's by then.
 */
export class SyncQueue {
  /** Each with the number of its write, so that one that was lost and stored again is not taken for the first. */
  readonly #due = new Map<number, number>();
  /** Those of them that are still open from their write, the oldest first. */
  readonly #files = new Map<number, WrittenFile>();
  readonly #gate = new Budget(WIDTH);
  #writes = 0;
  #isClosed = false;

  constructor(private readonly parts: SyncQueueParts) {}

  get size(): number {
    return this.#due.size;
  }

  /** `file`: it is open from its write, and closed here. */
  add(id: number, file?: WrittenFile): void {
    this.#due.set(id, ++this.#writes);
    if (file === undefined) return;
    this.#files.set(id, file);
    const [oldest] = this.#files.keys();
    if (oldest !== undefined && (this.#isClosed || this.#files.size > OPEN_MAX)) this.#take(oldest)?.close();
  }

  forget(id: number): void {
    this.#due.delete(id);
    this.#take(id)?.close();
  }

  /** Files do not stay open any more. */
  close(): void {
    this.#isClosed = true;
    for (const id of [...this.#files.keys()]) this.#take(id)?.close();
  }

  /** Fsyncs those chunks, by default all that are due. A copy whose fsync fails is lost. */
  async sync(ids: Iterable<number> = [...this.#due.keys()]): Promise<Fsynced> {
    const wanted = new Set(ids);
    /** By folder: those whose file is fsynced, each with its write. */
    const files = new Map<string, Map<number, number>>();
    await eachOf(wanted, WIDTH, async (id) => {
      const write = this.#due.get(id);
      const folder = this.parts.layout.folderOf(id);
      if (write === undefined || !(await this.#succeeds(() => this.#fsync(id), new Map([[id, write]])))) return;
      files.set(folder, (files.get(folder) ?? new Map<number, number>()).set(id, write));
    });
    const done = new Map<number, number>();
    await eachOf(files, WIDTH, async ([folder, chunks]) => {
      if (await this.#succeeds(() => this.parts.disk.sync(folder), chunks))
        for (const [id, write] of chunks) done.set(id, write);
    });
    await this.#record(done);
    const held = [...wanted].map((id) => ({ id, entry: this.parts.index.get(id) }));
    return {
      synced: held.filter(({ entry }) => entry?.synced === true).map(({ id }) => id),
      lost: held.filter(({ entry }) => entry === undefined).map(({ id }) => id),
    };
  }

  /** An fsync of a file or a folder that these chunks need. */
  async #succeeds(fsync: () => Promise<void>, chunks: ReadonlyMap<number, number>): Promise<boolean> {
    try {
      await this.#gate.run(1, fsync);
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

  /** By the descriptor of the write where it is open: what went wrong with those bytes since is told there for sure. */
  async #fsync(id: number): Promise<void> {
    const file = this.#take(id);
    if (file === undefined) return this.parts.disk.sync(this.parts.layout.pathOf(id));
    try {
      return await file.sync();
    } finally {
      file.close();
    }
  }

  /** The file is the caller's. */
  #take(id: number): WrittenFile | undefined {
    const file = this.#files.get(id);
    this.#files.delete(id);
    return file;
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
