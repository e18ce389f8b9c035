import { fail } from "../../proto/errno.js";

/** Something that is open: a file's or a folder's handle in the filesystem. */
export interface Open {
  readonly ino: number;
  readonly handle: number;
}

/** The kernel's numbers for what is open: fuse-native carries 31 bits, and 0 means none. */
const NUMBER_MAX = 0x7fff_ffff;

export class OpenTable {
  readonly #open = new Map<number, Open>();
  readonly #counts = new Map<number, number>();
  #last = 0;

  get size(): number {
    return this.#open.size;
  }

  add(open: Open): number {
    do this.#last = this.#last === NUMBER_MAX ? 1 : this.#last + 1;
    while (this.#open.has(this.#last));
    this.#open.set(this.#last, open);
    this.#counts.set(open.ino, (this.#counts.get(open.ino) ?? 0) + 1);
    return this.#last;
  }

  /** EBADF when there is none. */
  get(number: number): Open {
    return this.#open.get(number) ?? fail("EBADF");
  }

  remove(number: number): Open {
    const open = this.get(number);
    this.#open.delete(number);
    const left = (this.#counts.get(open.ino) ?? 0) - 1;
    if (left > 0) this.#counts.set(open.ino, left);
    else this.#counts.delete(open.ino);
    return open;
  }

  isOpen(ino: number): boolean {
    return this.#counts.has(ino);
  }
}
