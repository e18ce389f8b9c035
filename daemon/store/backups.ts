/**
 * Files that the metadata daemon keeps here: snapshots of itself and its commit log. What is in them is its own matter,
 * and they carry their own checksums.
 *
 * Invariants:
 * - A file is under its final name if and only if all of it came, as it was sent, and is fsynced.
 * - They go when the metadata daemon says so, by nothing else.
 */
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { fail } from "../../proto/errno.js";
import type { BackupFile, GetBackup, PutBackup } from "../../proto/gen/bigfs/v1/store.js";
import { LIMITS } from "../../proto/limits.js";
import type { Layout } from "../common/chunks/layout.js";
import { codeOf, diskError, type Disk } from "./disk.js";

/** Files that may be under way at once: a metadata daemon sends two, and one that takes its place two more. */
const UPLOADS = 4;

interface Upload {
  size: number;
  crc: number;
}

export class Backups {
  readonly #uploads = new Map<string, Upload>();

  constructor(private readonly parts: { readonly disk: Disk; readonly layout: Layout }) {}

  /** The next piece of a file. EINVAL: it does not follow the one before; begin again. EBADMSG: it is not what was sent. */
  async put(piece: PutBackup, data: Buffer): Promise<void> {
    const { disk, layout } = this.parts;
    const temp = join(layout.temp, mustBeName(piece.name));
    const upload = piece.off === 0 ? await this.#begin(piece.name) : this.#uploads.get(piece.name);
    if (upload?.size !== piece.off) fail("EINVAL", `${piece.name}: byte ${piece.off} does not follow`);
    upload.size += data.length;
    upload.crc = crc32(data, upload.crc);
    try {
      if (piece.off === 0) await disk.write(temp, [data]);
      else await disk.append(temp, data);
      if (!piece.last) return;
      if (upload.crc !== piece.crc) fail("EBADMSG", `${piece.name} arrived with a bad checksum`);
      await disk.makeFolder(layout.backup);
      await disk.sync(temp);
      await disk.rename(temp, join(layout.backup, piece.name));
      await disk.sync(layout.backup);
      await disk.sync(layout.root);
      this.#uploads.delete(piece.name);
    } catch (error) {
      this.#uploads.delete(piece.name);
      await disk.remove(temp).catch(() => {});
      throw diskError(error, `cannot store ${piece.name}`);
    }
  }

  async list(): Promise<BackupFile[]> {
    const { disk, layout } = this.parts;
    try {
      const names = (await disk.list(layout.backup)).filter(isName).sort();
      return await Promise.all(names.map(async (name) => ({ name, size: await disk.size(join(layout.backup, name)) })));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw diskError(error, "cannot list the backups");
    }
  }

  /** ENOENT: there is no such file. */
  async get({ name, off, len }: GetBackup): Promise<Buffer> {
    const path = join(this.parts.layout.backup, mustBeName(name));
    try {
      const [bytes] = await this.parts.disk.read(path, [{ off, len: Math.min(len, LIMITS.chunkSizeMax) }]);
      return bytes ?? Buffer.alloc(0);
    } catch (error) {
      throw diskError(error, name);
    }
  }

  async remove(names: readonly string[]): Promise<void> {
    const { disk, layout } = this.parts;
    for (const name of names) {
      try {
        await disk.remove(join(layout.backup, mustBeName(name)));
      } catch (error) {
        if (codeOf(error) !== "ENOENT") throw diskError(error, `cannot remove ${name}`);
      }
    }
  }

  async #begin(name: string): Promise<Upload> {
    const upload = { size: 0, crc: 0 };
    this.#uploads.delete(name);
    this.#uploads.set(name, upload);
    // Of a daemon that died on the way there will be no more.
    const [oldest] = this.#uploads.keys();
    if (this.#uploads.size > UPLOADS && oldest !== undefined) {
      this.#uploads.delete(oldest);
      await this.parts.disk.remove(join(this.parts.layout.temp, oldest)).catch(() => {});
    }
    return upload;
  }
}

function isName(name: string): boolean {
  return /^[0-9a-z][0-9a-z.-]{0,99}$/.test(name);
}

function mustBeName(name: string): string {
  return isName(name) ? name : fail("EINVAL", `'${name}' is no name of a backup`);
}
