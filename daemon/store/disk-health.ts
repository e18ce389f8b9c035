import { basename } from "node:path";
import type { OpenFile } from "../common/chunks/open-file.js";
import { fail } from "../../proto/errno.js";
import { codeOf, type Disk, type WrittenFile } from "./disk.js";

/** What a disk says that cannot do what it is for: errors of the device, and filesystems that gave up because of them. */
const BAD: ReadonlySet<string> = new Set(["EIO", "EROFS", "EUCLEAN", "ENXIO", "ENODEV"]);
/** So many files or folders with such errors, and the disk counts as failing: one may be a single bad sector. */
const FILES = 3;

/**
 * Watches a disk. Once it has failed for a few different files it counts as failing until the daemon starts again: nothing
 * new is to be stored there, while what can be read still is.
 */
export class DiskHealth {
  /** The disk, watched. */
  readonly disk: Disk;
  readonly #files = new Set<string>();
  readonly #listeners: ((what: string, code: string) => void)[] = [];
  #failing: string | undefined;
  #tell!: () => void;
  /** Resolves when the disk counts as failing. */
  readonly failed = new Promise<void>((resolve) => {
    this.#tell = resolve;
  });

  constructor(disk: Disk) {
    this.disk = watched(disk, (error, path) => this.#note(error, path));
  }

  /** What is wrong, for people; undefined: nothing, so far. */
  get failing(): string | undefined {
    return this.#failing;
  }

  /** EIO when nothing new may be stored. */
  mustBeGood(): void {
    if (this.#failing !== undefined) fail("EIO", `this disk is failing (${this.#failing}) and takes no new chunks`);
  }

  /** Called for each error of the device. */
  onError(listener: (what: string, code: string) => void): void {
    this.#listeners.push(listener);
  }

  #note(error: unknown, path: string): void {
    const code = codeOf(error);
    if (code === undefined || !BAD.has(code)) return;
    for (const listener of this.#listeners) listener(String(error), code);
    if (this.#failing !== undefined) return;
    // A chunk keeps its file's name when it gets its final place.
    this.#files.add(basename(path));
    if (this.#files.size < FILES) return;
    this.#failing = `${FILES} of its files failed, the last with ${code}`;
    this.#tell();
  }
}

/** The same disk; `note` sees each error, with the path that it was about. */
function watched(disk: Disk, note: (error: unknown, path: string) => void): Disk {
  const seen = async <T>(path: string, work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      note(error, path);
      throw error;
    }
  };
  const written = (path: string, file: WrittenFile): WrittenFile => ({
    sync: () => seen(path, file.sync()),
    close: () => file.close(),
  });
  const opened = (path: string, file: OpenFile): OpenFile => ({
    read: (range) => seen(path, file.read(range)),
    close: () => file.close(),
  });
  return {
    create: async (path, parts) => written(path, await seen(path, disk.create(path, parts))),
    write: (path, parts) => seen(path, disk.write(path, parts)),
    append: (path, bytes) => seen(path, disk.append(path, bytes)),
    read: (path, ranges, how) => seen(path, disk.read(path, ranges, how)),
    open: async (path) => opened(path, await seen(path, disk.open(path))),
    size: (path) => seen(path, disk.size(path)),
    sync: (path) => seen(path, disk.sync(path)),
    rename: (from, into) => seen(into, disk.rename(from, into)),
    remove: (path) => seen(path, disk.remove(path)),
    list: (folder) => seen(folder, disk.list(folder)),
    makeFolder: (path) => seen(path, disk.makeFolder(path)),
    free: (folder) => seen(folder, disk.free(folder)),
  };
}
