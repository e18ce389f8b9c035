/**
 * The chunks of one disk.
 *
 * Invariants:
 * - A chunk is in the index if and only if its whole file stands under its final name. Names appear by rename only.
 * - A chunk never changes: the same id is stored again only with the same bytes.
 * - `synced` in the index (and in the journal) comes after the fsyncs of the file and of its folder.
 * - A file under a final name leaves it by recorded deletion (`remove`) or into quarantine, by nothing else.
 */
import { join } from "node:path";
import type { Logger } from "pino";
import { fail, type Errno, type FsError } from "../../proto/errno.js";
import * as format from "../common/chunks/chunk-format.js";
import { ChunkReader } from "../common/chunks/chunk-reader.js";
import { Layout, fileName } from "../common/chunks/layout.js";
import type { OpenFile } from "../common/chunks/open-file.js";
import type { Clock } from "../common/clock.js";
import type { Random } from "../common/random.js";
import type { ChunkIndex, Entry } from "./chunk-index.js";
import { codeOf, diskError, type Disk, type ReadHow, type WrittenFile } from "./disk.js";
import { Budget, KeyedLock, eachOf } from "./parallel.js";
import { Quarantine } from "./quarantine.js";
import { recover } from "./recovery.js";
import { Space } from "./space.js";
import { SyncJournal, type SyncedChunk } from "./sync-journal.js";
import { SyncQueue, type Fsynced } from "./sync-queue.js";

export interface ChunkStoreParts {
  readonly disk: Disk;
  /** Throws when nothing new may be stored; default: it always may. */
  readonly mustBeGood?: () => void;
  readonly log: Logger;
  /** For the names of what is moved aside; default: the machine's. */
  readonly random?: Random;
  /** For the same; default: the machine's. */
  readonly clock?: Pick<Clock, "now">;
}

export interface ChunkStoreOptions {
  /** Data folder, absolute. */
  readonly data: string;
  /** Bytes that chunks may take; default: what the disk has. */
  readonly capacity?: number | undefined;
  /** Bytes of the disk that stay free. */
  readonly reserve: number;
}

export interface NewChunk {
  readonly id: number;
  /** crc32 of the data, as whoever sent it says. */
  readonly crc: number;
  readonly data: Buffer;
  /** Fsync before it is there. */
  readonly sync: boolean;
}

export interface StoreStats {
  readonly chunks: number;
  /** Bytes. */
  readonly used: number;
  readonly capacity: number;
  readonly unsynced: number;
  readonly unverified: number;
  /** Files. */
  readonly quarantined: number;
  /** Disk operations under way, 0..1 of what goes at once. */
  readonly busy: number;
}

const FROM_DISK: ReadHow = { fromDisk: true };

/** Disk operations at once; more only queue in the kernel and keep their memory. */
const WIDTH = 8;
/** Chunk files that stay open for readers. */
const OPEN_MAX = 512;
/** Ids are remembered by their remainder: another one with the same costs an fsync. */
const GONE_IDS = 2 ** 20;

export class ChunkStore {
  readonly #lock = new KeyedLock();
  readonly #gate = new Budget(WIDTH);
  readonly #reader = new ChunkReader((id) => this.#open(id), OPEN_MAX);
  readonly #unverified: Set<number>;
  readonly #syncs: SyncQueue;
  /** By remainder: chunks that were fsynced and are gone; after a power cut the journal may still say that they are here. */
  readonly #gone = new Uint8Array(GONE_IDS);
  readonly #lostListeners: ((id: number, errno: Errno) => void)[] = [];

  private constructor(
    private readonly parts: ChunkStoreParts & { layout: Layout; journal: SyncJournal; space: Space },
    private readonly index: ChunkIndex,
    unverified: readonly number[],
    readonly quarantined: Quarantine,
  ) {
    this.#unverified = new Set(unverified);
    const lose = (id: number, why: FsError): Promise<void> => this.#lock.run(id, () => this.#lose(id, why));
    this.#syncs = new SyncQueue({ ...parts, index, lose });
  }

  /** Opens a data folder that nobody else uses. Chunks that are still to be verified are served, but not reported. */
  static async open(parts: ChunkStoreParts, opts: ChunkStoreOptions): Promise<ChunkStore> {
    const layout = new Layout(opts.data);
    const journal = new SyncJournal(parts, layout.journal);
    const quarantine = new Quarantine({ ...parts, layout });
    const { index, unverified } = await recover({ ...parts, layout, journal, quarantine });
    await quarantine.count();
    const space = new Space(parts.disk, { folder: opts.data, capacity: opts.capacity, reserve: opts.reserve });
    for (const id of index.sortedIds()) space.count(format.fileBytes(index.get(id)?.len ?? 0));
    await space.refresh();
    return new ChunkStore({ ...parts, layout, journal, space }, index, unverified, quarantine);
  }

  /** Nothing is read or fsynced any more. */
  close(): void {
    this.#reader.close();
    this.#syncs.close();
  }

  /** Called for each chunk that was found bad, lost or unreadable, when it is in the index no more. */
  onLost(listener: (id: number, errno: Errno) => void): void {
    this.#lostListeners.push(listener);
  }

  get stats(): StoreStats {
    return {
      chunks: this.index.size,
      used: this.parts.space.used,
      capacity: this.parts.space.capacity,
      unsynced: this.#syncs.size,
      unverified: this.#unverified.size,
      quarantined: this.quarantined.size,
      busy: Math.min(1, this.#gate.taken / WIDTH),
    };
  }

  /** All ids from <= id < to, growing. */
  ids(from?: number, to?: number): Float64Array {
    return this.index.sortedIds(from, to);
  }

  /** Whether its file stands there with all its bytes, which are not read. EIO: the disk does not say. */
  async isWhole(id: number): Promise<boolean> {
    try {
      const size = await this.#gate.run(1, () => this.parts.disk.size(this.parts.layout.pathOf(id)));
      return size === format.fileBytes(this.index.get(id)?.len ?? -1);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return false;
      throw diskError(error, `chunk ${id}`);
    }
  }

  entry(id: number): Entry | undefined {
    return this.index.get(id);
  }

  /** ENOSPC when there is no room for a chunk of that many bytes; EIO: the disk is failing. Promises nothing. */
  async mustHaveRoom(len: number): Promise<void> {
    this.parts.mustBeGood?.();
    return this.parts.space.mustHaveRoom(format.fileBytes(len));
  }

  /** Looks anew at how much the disk can take. */
  refreshSpace(): Promise<void> {
    return this.parts.space.refresh();
  }

  /**
   * Stores a chunk. The same again is success. EBADMSG when the data does not have that checksum, EEXIST when other
   * bytes have that id, ENOSPC.
   */
  async put(chunk: NewChunk): Promise<void> {
    const blocks = format.blockCrcs(chunk.data);
    if (format.wholeCrc(blocks, chunk.data.length) !== chunk.crc) {
      fail("EBADMSG", `chunk ${chunk.id} arrived with a bad checksum`);
    }
    if (this.#unverified.has(chunk.id)) await this.#verifyNow(chunk.id);
    await this.#lock.run(chunk.id, async () => {
      if (!this.#isHere(chunk)) await this.#store(chunk, blocks);
    });
    if (!chunk.sync) return;
    const { synced } = await this.sync([chunk.id]);
    if (synced.length === 0) fail("EIO", `chunk ${chunk.id} could not be fsynced`);
  }

  /** Bytes off..off+len, fewer at the end of the chunk, verified. ENOENT; EBADMSG or EIO: the copy is no good. */
  async get(id: number, off: number, len: number): Promise<Buffer> {
    const entry = this.index.get(id) ?? fail("ENOENT", `no chunk ${id}`);
    return this.#reading(id, () => this.#reader.read({ id, len: entry.len, crc: entry.crc }, off, len));
  }

  /** Reads the whole chunk, as the disk has it, against its checksums. Errors as of `get`. */
  async verify(id: number): Promise<{ len: number; crc: number }> {
    const entry = this.index.get(id) ?? fail("ENOENT", `no chunk ${id}`);
    await this.#reading(id, () => this.#check(id, entry, FROM_DISK), FROM_DISK);
    return { len: entry.len, crc: entry.crc };
  }

  /** Reads in full what was left unverified at the start, of those chunks or of all; bad ones go to quarantine. */
  async verifyUnverified(signal: AbortSignal, ids: Iterable<number> = this.#unverified): Promise<void> {
    await eachOf([...ids], 2, async (id) => {
      if (!signal.aborted && this.#unverified.has(id)) await this.#verifyNow(id);
    });
  }

  /** Fsyncs those chunks, by default all that are not yet. A copy whose fsync fails is lost. */
  sync(ids?: Iterable<number>): Promise<Fsynced> {
    return this.#syncs.sync(ids);
  }

  /** Removes chunks for good: their deletion is recorded. Returns those that are gone now, or were never here. */
  async remove(ids: Iterable<number>): Promise<number[]> {
    const gone: number[] = [];
    const forgotten: SyncedChunk[] = [];
    const folders = new Set<string>();
    await eachOf(new Set(ids), WIDTH, (id) =>
      this.#lock.run(id, async () => {
        const entry = this.index.get(id);
        if (entry !== undefined) {
          if (!(await this.#unlink(id))) return;
          this.#forget(id, entry);
          forgotten.push({ id, len: entry.len, crc: entry.crc });
        }
        // Also of those that are not here: an earlier try may have failed at just this.
        folders.add(this.parts.layout.folderOf(id));
        gone.push(id);
      }),
    );
    // Otherwise a power cut could bring back what nobody knows any more.
    await eachOf(folders, 2, (folder) => this.parts.disk.sync(folder));
    if (forgotten.length > 0) await this.parts.journal.gone(forgotten);
    return gone;
  }

  /** Moves a copy out of sight. False: it is not here. */
  quarantine(id: number, reason: string): Promise<boolean> {
    return this.#lock.run(id, () => this.#quarantine(id, reason));
  }

  /** True when that very chunk is here. */
  #isHere(chunk: NewChunk): boolean {
    const { id, crc, data } = chunk;
    const entry = this.index.get(id);
    if (entry === undefined) return false;
    if (entry.len === data.length && entry.crc === crc) return true;
    const arrived = { len: data.length, crc };
    this.parts.log.error({ chunk: id, stored: entry, arrived }, "other bytes arrived for a chunk that is here");
    return fail("EEXIST", `chunk ${id} is here with other bytes`);
  }

  async #store(chunk: NewChunk, blocks: readonly number[]): Promise<void> {
    this.parts.mustBeGood?.();
    const bytes = format.fileBytes(chunk.data.length);
    try {
      await this.parts.space.take(bytes);
    } catch (error) {
      throw diskError(error, "cannot ask the disk for its space");
    }
    let file: WrittenFile;
    try {
      file = await this.#gate.run(1, () => this.#write(chunk, blocks));
    } catch (error) {
      this.parts.space.give(bytes);
      const failed = diskError(error, `cannot store chunk ${chunk.id}`);
      if (failed.errno === "ENOSPC") this.parts.space.exhausted();
      throw failed;
    }
    this.index.set(chunk.id, { len: chunk.data.length, crc: chunk.crc, synced: false, unverified: false });
    this.#syncs.add(chunk.id, file);
  }

  /** The file stands under its final name, and is open. */
  async #write(chunk: NewChunk, blocks: readonly number[]): Promise<WrittenFile> {
    const { disk, layout } = this.parts;
    const temp = join(layout.temp, fileName(chunk.id));
    const { id, crc, data } = chunk;
    const header = format.encodeHeader({ id, len: data.length, crc, blocks });
    let file: WrittenFile | undefined;
    try {
      file = await disk.create(temp, [header, data]);
      // What the journal calls fsynced is not verified after a power cut: so it must be, before it has that name again.
      if (chunk.sync || this.#gone[id % GONE_IDS] === 1) await file.sync();
      await disk.rename(temp, layout.pathOf(id));
      return file;
    } catch (error) {
      file?.close();
      await disk.remove(temp).catch(() => {});
      throw error;
    }
  }

  async #open(id: number): Promise<OpenFile> {
    const { disk, layout } = this.parts;
    const file = await this.#gate.run(1, () => disk.open(layout.pathOf(id)));
    // It may have gone while it was opened.
    if (!this.index.has(id)) {
      file.close();
      fail("ENOENT", `no chunk ${id}`);
    }
    return { read: (range) => this.#gate.run(1, () => file.read(range)), close: () => file.close() };
  }

  async #check(id: number, entry: Entry, how?: ReadHow): Promise<void> {
    const { disk, layout } = this.parts;
    const range = { off: 0, len: format.fileBytes(entry.len) + 1 };
    const [file = Buffer.alloc(0)] = await this.#gate.run(1, () => disk.read(layout.pathOf(id), [range], how));
    const { crc, len, blocks } = format.decodeFile(id, file).header;
    if (crc !== entry.crc || format.wholeCrc(blocks, len) !== crc) fail("EBADMSG", "bad checksum of the whole chunk");
  }

  async #verifyNow(id: number): Promise<void> {
    try {
      await this.verify(id);
    } catch (error) {
      // A file that could not be looked at stays to be verified.
      if (this.index.has(id)) throw error;
    }
    const entry = this.index.get(id);
    if (!this.#unverified.delete(id) || entry === undefined) return;
    this.index.set(id, { ...entry, unverified: false });
    this.#syncs.add(id);
  }

  /** Errors that say that the copy is no good take it out of sight, after a second look of the same kind. */
  async #reading<T>(id: number, read: () => Promise<T>, how?: ReadHow): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (isBad(error)) await this.#lock.run(id, () => this.#lookAgain(id, how));
      throw diskError(error, `chunk ${id}`);
    }
  }

  async #lookAgain(id: number, how: ReadHow | undefined): Promise<void> {
    const entry = this.index.get(id);
    if (entry === undefined) return;
    try {
      await this.#check(id, entry, how);
    } catch (error) {
      if (isBad(error)) return this.#lose(id, diskError(error, `chunk ${id}`));
    }
    this.parts.log.warn({ chunk: id }, "a read failed that succeeds when repeated");
    return undefined;
  }

  async #lose(id: number, why: FsError): Promise<void> {
    if (!(await this.#quarantine(id, why.message))) return;
    for (const listener of this.#lostListeners) listener(id, why.errno);
  }

  async #quarantine(id: number, reason: string): Promise<boolean> {
    const entry = this.index.get(id);
    if (entry === undefined) return false;
    const { layout, log, journal } = this.parts;
    log.error({ chunk: id, reason }, "a chunk goes to quarantine");
    this.#forget(id, entry);
    try {
      await this.quarantined.take(layout.pathOf(id), fileName(id), reason);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") log.error({ err: error, chunk: id }, "a bad chunk cannot be moved");
    }
    await journal.gone([{ id, len: entry.len, crc: entry.crc }]);
    return true;
  }

  async #unlink(id: number): Promise<boolean> {
    try {
      await this.#gate.run(1, () => this.parts.disk.remove(this.parts.layout.pathOf(id)));
      return true;
    } catch (error) {
      if (codeOf(error) === "ENOENT") return true;
      this.parts.log.error({ err: error, chunk: id }, "a chunk cannot be removed");
      return false;
    }
  }

  #forget(id: number, entry: Entry): void {
    if (entry.synced) this.#gone[id % GONE_IDS] = 1;
    this.index.delete(id);
    this.#reader.forget(id);
    this.#syncs.forget(id);
    this.#unverified.delete(id);
    this.parts.space.give(format.fileBytes(entry.len));
  }
}

/** Whether the error says that this copy is no good, not that something else was in the way. */
function isBad(error: unknown): boolean {
  const code = codeOf(error);
  return code === "ENOENT" || code === "EIO" || (error as Partial<FsError> | undefined)?.errno === "EBADMSG";
}
