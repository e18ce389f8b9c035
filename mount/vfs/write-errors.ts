import { FsError, type Errno } from "../../proto/errno.js";

/** `heard` of one that an error has befallen that the file does not know of. */
export const HAS_TO_HEAR = -1;

/** Who has heard of the write errors of a file. */
export interface Hearer {
  /** Errors that this handle has been told, by WriteErrors' count. */
  heard: number;
}

/**
 * Errors of writes that had been accepted. Each is told once to every handle that is open when it happens; if none hears
 * of it, to the first that is opened afterwards.
 */
export class WriteErrors {
  #count = 0;
  #errno: Errno = "EIO";
  #wasHeard = true;

  get count(): number {
    return this.#count;
  }

  /** Nobody was told of the latest. */
  get isUnheard(): boolean {
    return !this.#wasHeard;
  }

  add(errno: Errno): void {
    this.#count += 1;
    this.#errno = errno;
    this.#wasHeard = false;
  }

  /** What a new handle counts as having heard. */
  sample(): number {
    return this.#wasHeard ? this.#count : this.#count - 1;
  }

  /** Throws what this handle has not heard yet. */
  tell(handle: Hearer): void {
    if (handle.heard === this.#count) return;
    handle.heard = this.#count;
    this.#wasHeard = true;
    const why = this.#errno === "ENOSPC" ? ": no storage daemon has space left, see 'bigfsd status'" : "";
    throw new FsError(this.#errno, `data written earlier was not stored${why}`);
  }
}
