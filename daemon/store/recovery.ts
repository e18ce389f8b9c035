import { join } from "node:path";
import type { Logger } from "pino";
import { headerBytes, fileBytes, decodeHeader, BLOCK, type ChunkHeader } from "../common/chunks/chunk-format.js";
import { ChunkIndex } from "./chunk-index.js";
import { codeOf, type Disk } from "./disk.js";
import { idOfName, type Layout } from "../common/chunks/layout.js";
import { eachOf } from "./parallel.js";
import type { Quarantine } from "./quarantine.js";
import type { SyncJournal, SyncedChunk } from "./sync-journal.js";
import { FsError } from "../../proto/errno.js";
import { LIMITS } from "../../proto/limits.js";

export interface RecoveryParts {
  readonly disk: Disk;
  readonly log: Logger;
  readonly layout: Layout;
  readonly journal: SyncJournal;
  readonly quarantine: Quarantine;
}

export interface Recovered {
  readonly index: ChunkIndex;
  /** Chunks to be read in full before they are reported. */
  readonly unverified: number[];
}

/** Looks at this many files at once. */
const WIDTH = 8;
/** Enough for any header. */
const HEADER_MAX = headerBytes(LIMITS.chunkSizeMax + BLOCK);

/**
 * Finds out what a data folder holds. Chunks that the journal calls fsynced count when their file has the right size;
 * of all others the header is read here and the rest is left to be verified. What does not fit is moved to quarantine;
 * only unfinished writes, which were never acknowledged, are removed.
 */
export async function recover(parts: RecoveryParts): Promise<Recovered> {
  const { disk, layout, journal } = parts;
  for (const folder of [layout.temp, layout.quarantine, layout.chunks, ...layout.folders]) {
    await disk.makeFolder(folder);
  }
  await disk.sync(layout.chunks);
  await disk.sync(layout.root);
  await eachOf(await disk.list(layout.temp), WIDTH, (name) => disk.remove(join(layout.temp, name)));
  const known = new ChunkIndex();
  await journal.read(({ id, len, crc }, isGone) => {
    if (isGone) known.delete(id);
    else known.set(id, { len, crc, synced: true, unverified: false });
  });
  const run = new Recovery(parts, known);
  await eachOf(layout.folders, 2, (folder) => run.folder(folder));
  await journal.rewrite(run.synced);
  return { index: run.index, unverified: run.unverified };
}

class Recovery {
  readonly index = new ChunkIndex();
  readonly unverified: number[] = [];
  readonly synced: SyncedChunk[] = [];

  constructor(
    private readonly parts: RecoveryParts,
    private readonly known: ChunkIndex,
  ) {}

  async folder(folder: string): Promise<void> {
    const names = await this.parts.disk.list(folder);
    await eachOf(names, WIDTH / 2, (name) => this.#file(folder, name));
  }

  async #file(folder: string, name: string): Promise<void> {
    const { disk, layout } = this.parts;
    const path = join(folder, name);
    const id = idOfName(name);
    if (id === undefined || layout.pathOf(id) !== path) return this.#quarantine(path, name, "not a chunk's name");
    const size = await disk.size(path);
    const entry = this.known.get(id);
    if (entry !== undefined) {
      if (size !== fileBytes(entry.len)) return this.#quarantine(path, name, `${size} bytes instead of its own`);
      this.index.set(id, entry);
      this.synced.push({ id, len: entry.len, crc: entry.crc });
      return undefined;
    }
    const header = await this.#header(path);
    if (header?.id !== id || size !== fileBytes(header.len)) {
      return this.#quarantine(path, name, "not written to its end, or unreadable");
    }
    this.index.set(id, { len: header.len, crc: header.crc, synced: false, unverified: true });
    this.unverified.push(id);
    return undefined;
  }

  async #header(path: string): Promise<ChunkHeader | undefined> {
    try {
      const [bytes = Buffer.alloc(0)] = await this.parts.disk.read(path, [{ off: 0, len: HEADER_MAX }]);
      return decodeHeader(bytes);
    } catch (error) {
      // A bad sector costs this copy, not the whole node. When the disk is gone the file cannot be moved either.
      if (error instanceof FsError || codeOf(error) === "EIO") return undefined;
      throw error;
    }
  }

  async #quarantine(path: string, name: string, reason: string): Promise<void> {
    const { log, quarantine } = this.parts;
    log.warn({ path, reason }, "a file among the chunks goes to quarantine");
    await quarantine.take(path, name, reason);
  }
}
