import { NAME_MAX, type Name } from "../../proto/name.js";

/** Names of one folder that are remembered; beyond that it is as if nothing was known. */
const NAMES_MAX = 65_536;
/** So often a missing name is answered here; whoever goes on asking gets an answer that the kernel may keep. */
const MISSES = 3;
const MISSED_MAX = 1_024;

/** All names in a folder, from when it was made here. */
export class KnownNames {
  readonly #names = new Set<Name>();
  readonly #missed = new Map<Name, number>();

  get isFull(): boolean {
    return this.#names.size > NAMES_MAX;
  }

  add(name: Name): void {
    this.#names.add(name);
    this.#missed.delete(name);
  }

  delete(name: Name): void {
    this.#names.delete(name);
  }

  /** There is no such name. False: perhaps there is, or it is worth asking. */
  misses(name: Name): boolean {
    // What is wrong with a name, others say.
    if (this.#names.has(name) || name.length > NAME_MAX) return false;
    const times = (this.#missed.get(name) ?? 0) + 1;
    if (times > MISSES) return false;
    if (this.#missed.size >= MISSED_MAX) this.#missed.clear();
    this.#missed.set(name, times);
    return true;
  }
}
