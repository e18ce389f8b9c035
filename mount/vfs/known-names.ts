import { NAME_MAX, type Name } from "../../proto/name.js";

/** Names of one folder that are remembered; beyond that it is as if nothing was known. */
export const NAMES_MAX = 65_536;
/** Names of all folders together: about 100 bytes each. */
const NAMES_TOTAL = 262_144;
/** So often a missing name is answered here; whoever goes on asking gets an answer that the kernel may keep. */
const MISSES = 3;
const MISSED_MAX = 1_024;

interface Folder {
  readonly names: Set<Name>;
  readonly missed: Map<Name, number>;
  /** Asked about since it was last passed over. */
  isUsed: boolean;
}

/** Folders, by inode number, of which all names are known. They are valid while the folder's attributes are cached. */
export class KnownNames {
  readonly #folders = new Map<number, Folder>();
  #total = 0;

  constructor(private readonly totalMax = NAMES_TOTAL) {}

  /** These, and no others, are the names in the folder. */
  set(dir: number, names: Iterable<Name>): void {
    this.drop(dir);
    const folder = { names: new Set(names), missed: new Map<Name, number>(), isUsed: true };
    if (folder.names.size > NAMES_MAX) return;
    this.#folders.set(dir, folder);
    this.#total += folder.names.size;
    this.#makeRoom();
  }

  add(dir: number, name: Name): void {
    const folder = this.#folders.get(dir);
    if (folder === undefined || folder.names.has(name)) return;
    folder.names.add(name);
    folder.missed.delete(name);
    this.#total++;
    if (folder.names.size > NAMES_MAX) this.drop(dir);
    else if (this.#total > this.totalMax) this.#makeRoom();
  }

  delete(dir: number, name: Name): void {
    if (this.#folders.get(dir)?.names.delete(name) === true) this.#total--;
  }

  drop(dir: number): void {
    const folder = this.#folders.get(dir);
    if (folder === undefined) return;
    this.#folders.delete(dir);
    this.#total -= folder.names.size;
  }

  clear(): void {
    this.#folders.clear();
    this.#total = 0;
  }

  /** There is no such name. False: perhaps there is, or it is worth asking. */
  misses(dir: number, name: Name): boolean {
    const folder = this.#folders.get(dir);
    if (folder === undefined) return false;
    folder.isUsed = true;
    // What is wrong with a name, others say.
    if (folder.names.has(name) || name.length > NAME_MAX) return false;
    const { missed } = folder;
    const times = (missed.get(name) ?? 0) + 1;
    if (times > MISSES) return false;
    if (missed.size >= MISSED_MAX) missed.clear();
    missed.set(name, times);
    return true;
  }

  /** Forgets folders that were not asked about for long: the "clock" of page replacement. */
  #makeRoom(): void {
    for (const [dir, folder] of this.#folders) {
      if (this.#total <= this.totalMax) return;
      if (folder.isUsed) {
        folder.isUsed = false;
        this.#folders.delete(dir);
        this.#folders.set(dir, folder);
      } else {
        this.drop(dir);
      }
    }
  }
}
