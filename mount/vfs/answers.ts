import type { Clock } from "../../daemon/common/clock.js";
import type { Name } from "../../proto/name.js";

/**
 * What an answer that is under way (or a page of a listing that is kept) may still be used for. An answer may be older
 * than a recall, or than the answer to a later change of our own, that was handled before it: what such a message named
 * while the answer was under way must not enter a cache.
 */
export class Ticket {
  /** `atMs`: when it was asked (monotonic). */
  constructor(readonly atMs: number) {}

  /** So many names are remembered; beyond that everything counts as named. */
  static readonly max = 4096;

  #everything = false;
  readonly #inos = new Set<number>();
  readonly #entries = new Set<string>();
  readonly #foretold = new Set<number>();

  /** While it was under way, a change of the inode was told that it does not show. */
  isBehind(ino: number): boolean {
    return this.#foretold.has(ino);
  }

  isFreshInode(ino: number): boolean {
    return !this.#everything && !this.#inos.has(ino);
  }

  isFreshEntry(dir: number, name: Name): boolean {
    return !this.#everything && !this.#entries.has(entryKey(dir, name));
  }

  spoilInode(ino: number): void {
    this.#inos.add(ino);
    if (this.#inos.size > Ticket.max) this.spoilEverything();
  }

  foretell(ino: number): void {
    this.#foretold.add(ino);
    this.spoilInode(ino);
  }

  spoilEntry(key: string): void {
    this.#entries.add(key);
    if (this.#entries.size > Ticket.max) this.spoilEverything();
  }

  spoilEverything(): void {
    this.#everything = true;
    this.#inos.clear();
    this.#entries.clear();
  }
}

export function entryKey(dir: number, name: Name): string {
  return `${dir}/${name}`;
}

/** The tickets of all answers that are under way. */
export class Answers {
  readonly #tickets = new Set<Ticket>();

  constructor(private readonly clock: Clock) {}

  begin(): Ticket {
    const ticket = new Ticket(this.clock.monotonicMs());
    this.#tickets.add(ticket);
    return ticket;
  }

  end(ticket: Ticket): void {
    this.#tickets.delete(ticket);
  }

  inodeChanged(ino: number): void {
    for (const ticket of this.#tickets) ticket.spoilInode(ino);
  }

  /** An own change was told before it was answered, which those that are under way do not show. */
  inodeForetold(ino: number): void {
    for (const ticket of this.#tickets) ticket.foretell(ino);
  }

  entryChanged(dir: number, name: Name): void {
    const key = entryKey(dir, name);
    for (const ticket of this.#tickets) ticket.spoilEntry(key);
  }

  everythingChanged(): void {
    for (const ticket of this.#tickets) ticket.spoilEverything();
  }
}
