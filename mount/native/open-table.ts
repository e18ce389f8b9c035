import { fail } from "../../proto/errno.js";

/** Something that is open: a file's or a folder's handle in the filesystem. */
export interface Open {
  readonly ino: number;
  readonly handle: number;
}

interface OpenFile extends Open {
  path: string;
  isReplaced: boolean;
}

/** The kernel's numbers for what is open: fuse-native carries 31 bits, and 0 means none. */
const NUMBER_MAX = 0x7fff_ffff;

/**
 * What is open, by number; files also by the path under which libfuse knows them. That path is what the kernel takes for
 * the file, whatever other mounts do to its name.
 */
export class OpenTable {
  readonly #open = new Map<number, Open>();
  readonly #files = new Map<string, Set<OpenFile>>();
  #last = 0;

  add(open: Open): number {
    do this.#last = this.#last === NUMBER_MAX ? 1 : this.#last + 1;
    while (this.#open.has(this.#last));
    this.#open.set(this.#last, open);
    return this.#last;
  }

  /** Files that are open under this path and are others count as replaced from now on. */
  addFile(path: string, { ino, handle }: Open): number {
    const file: OpenFile = { ino, handle, path, isReplaced: false };
    for (const other of this.#files.get(path) ?? []) other.isReplaced ||= other.ino !== ino;
    this.#put(path, [file]);
    return this.add(file);
  }

  /** EBADF when there is none. */
  get(number: number): Open {
    return this.#open.get(number) ?? fail("EBADF");
  }

  /**
   * For its bytes. ESTALE: another mount has put another file in its place, which was opened since. The kernel keeps the
   * pages of both as those of one file, so bytes of the old one would be read as those of the new one.
   */
  forBytes(number: number): Open {
    const open = this.get(number);
    return isFile(open) && open.isReplaced ? fail("ESTALE", "another mount has replaced the file") : open;
  }

  remove(number: number): Open {
    const open = this.get(number);
    this.#open.delete(number);
    if (!isFile(open)) return open;
    const same = this.#files.get(open.path);
    same?.delete(open);
    if (same?.size === 0) this.#files.delete(open.path);
    return open;
  }

  /** The inode that was opened last under this path and still is open. */
  inoAt(path: string): number | undefined {
    return [...(this.#files.get(path) ?? [])].at(-1)?.ino;
  }

  /** Whether a file is open in this folder or below it. */
  hasBelow(folder: string): boolean {
    for (const path of this.#files.keys()) if (path.startsWith(`${folder}/`)) return true;
    return false;
  }

  /** libfuse knows a file, or all below a folder, by another path from now on. */
  moved(from: string, into: string): void {
    for (const [path, files] of [...this.#files]) {
      if (path !== from && !path.startsWith(`${from}/`)) continue;
      this.#files.delete(path);
      this.#put(into + path.slice(from.length), files);
    }
  }

  #put(path: string, files: Iterable<OpenFile>): void {
    const all = this.#files.get(path) ?? new Set();
    this.#files.set(path, all);
    for (const file of files) {
      file.path = path;
      all.add(file);
    }
  }
}

function isFile(open: Open): open is OpenFile {
  return "path" in open;
}
