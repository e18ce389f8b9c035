import { LRUCache } from "lru-cache";
import type { Name } from "../../proto/name.js";
import type { Answers, Ticket } from "./answers.js";
import { entryKey } from "./answers.js";
import type { InodeTable } from "./inodes.js";
import type { MetaClient } from "./ports.js";

const ENTRIES_MAX = 100_000;

interface Entry {
  /** 0: there is no such name. */
  readonly ino: number;
  /** Serial of the folder's Inode object. */
  readonly dirSerial: number;
  /** False: only good as a guess. */
  readonly cached: boolean;
}

/** Names and what they lead to, as last seen. */
export class EntryCache {
  readonly #entries = new LRUCache<string, Entry>({ max: ENTRIES_MAX });

  constructor(private readonly parts: { meta: MetaClient; inodes: InodeTable; answers: Answers }) {}

  /** The inode (0: none) if that may be answered without asking. */
  get(dir: number, name: Name): number | undefined {
    const entry = this.#entries.get(entryKey(dir, name));
    if (entry === undefined || !entry.cached) return undefined;
    if (entry.dirSerial !== this.parts.inodes.serialOf(dir) || this.parts.meta.leaseLeftMs() <= 0) return undefined;
    return entry.ino;
  }

  /** The inode (0: none) that the name led to when it was last seen; undefined: it was not seen. */
  guess(dir: number, name: Name): number | undefined {
    return this.#entries.peek(entryKey(dir, name))?.ino;
  }

  /** Takes what an answer said; returns whether it may be kept. */
  put(at: { dir: number; name: Name }, ino: number, cached: boolean, ticket: Ticket): boolean {
    const dirSerial = this.parts.inodes.serialOf(at.dir);
    if (dirSerial === undefined || !ticket.isFreshEntry(at.dir, at.name)) return false;
    this.#entries.set(entryKey(at.dir, at.name), { ino, dirSerial, cached });
    return cached;
  }

  /** The same for a change of our own: answers about the name that are under way are older. */
  putOwn(at: { dir: number; name: Name }, ino: number, cached: boolean, ticket: Ticket): boolean {
    const isFresh = ticket.isFreshEntry(at.dir, at.name);
    this.invalidate(at.dir, at.name);
    const dirSerial = this.parts.inodes.serialOf(at.dir);
    if (!isFresh || dirSerial === undefined) return false;
    this.#entries.set(entryKey(at.dir, at.name), { ino, dirSerial, cached });
    return cached;
  }

  /** An own operation has left this there, and the caller knows whether it may be kept. */
  putChecked({ dir, name }: { dir: number; name: Name }, ino: number, cached: boolean): void {
    const dirSerial = this.parts.inodes.serialOf(dir);
    if (dirSerial !== undefined) this.#entries.set(entryKey(dir, name), { ino, dirSerial, cached });
  }

  invalidate(dir: number, name: Name): void {
    this.parts.answers.entryChanged(dir, name);
    this.#entries.delete(entryKey(dir, name));
  }

  invalidateAll(): void {
    this.#entries.clear();
  }

  /** Those that the kernel may know too: under its new name also what was moved and must be asked for. */
  *names(): Generator<{ dir: number; name: Name; ino: number }> {
    for (const [key, { ino }] of this.#entries.entries()) {
      const slash = key.indexOf("/");
      yield { dir: Number(key.slice(0, slash)), name: key.slice(slash + 1) as Name, ino };
    }
  }
}
