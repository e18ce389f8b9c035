import type { OpenFile } from "../../proto/gen/bigfs/v1/meta.js";

/** Handles of one file. */
export interface HandleCount {
  readonly count: number;
  /** Those among them that can write. */
  readonly writers: number;
}

/**
 * Told in the turn in which it comes to be so. A file is shared while several sessions have it open, one of them at least
 * to write.
 */
export interface OpensWatcher {
  /** `by`: the session that has just opened it. */
  shared(ino: number, by: number): void;
  unshared(ino: number): void;
}

/** Which sessions have which inodes open, and how often. In memory only: sessions declare it again after a restart. */
export class Opens {
  readonly #bySession = new Map<number, Map<number, HandleCount>>();
  /** Sessions that have the inode open, and how many of those to write; only what is open. */
  readonly #holders = new Map<number, { readonly sessions: number; readonly writing: number }>();

  constructor(private readonly watcher?: OpensWatcher) {}

  isOpen(ino: number): boolean {
    return this.#holders.has(ino);
  }

  /** Somebody else than this session has it open. */
  isOpenElsewhere(session: number, ino: number): boolean {
    const own = this.isOpenBy(session, ino) ? 1 : 0;
    return (this.#holders.get(ino)?.sessions ?? 0) > own;
  }

  isOpenBy(session: number, ino: number): boolean {
    return this.#bySession.get(session)?.has(ino) === true;
  }

  isShared(ino: number): boolean {
    const holders = this.#holders.get(ino);
    return holders !== undefined && holders.sessions > 1 && holders.writing > 0;
  }

  /** Inodes that this session has open. */
  countOf(session: number): number {
    return this.#bySession.get(session)?.size ?? 0;
  }

  /** The inodes that this session has open. */
  of(session: number): number[] {
    return [...(this.#bySession.get(session)?.keys() ?? [])];
  }

  /** The sessions that have it open. */
  sessionsOf(ino: number): number[] {
    return [...this.#bySession].flatMap(([session, files]) => (files.has(ino) ? session : []));
  }

  open(session: number, ino: number, { count, writers }: HandleCount = { count: 1, writers: 0 }): void {
    const { count: before, writers: writing } = this.#bySession.get(session)?.get(ino) ?? NONE;
    this.#put(session, ino, { count: before + Math.max(0, count), writers: writing + Math.max(0, writers) });
  }

  /** True when nobody has it open now and this session had. */
  close(session: number, ino: number, { count, writers }: HandleCount = { count: 1, writers: 0 }): boolean {
    const before = this.#bySession.get(session)?.get(ino);
    if (before === undefined) return false;
    this.#put(session, ino, { count: before.count - count, writers: Math.max(0, before.writers - writers) });
    return !this.isOpen(ino);
  }

  /** The session says that it has these open: at least so many times. */
  atLeast(session: number, declared: readonly OpenFile[]): void {
    for (const { ino, count, writers } of declared) {
      const before = this.#bySession.get(session)?.get(ino) ?? NONE;
      this.open(session, ino, { count: count - before.count, writers: writers - before.writers });
    }
  }

  /** The session has exactly these open. Returns the inodes that nobody has open any more. */
  replace(session: number, declared: readonly OpenFile[]): number[] {
    const after = new Map<number, HandleCount>();
    for (const { ino, count, writers } of declared) {
      if (count < 1) continue;
      const known = after.get(ino) ?? NONE;
      after.set(ino, { count: known.count + count, writers: known.writers + writers });
    }
    const gone = this.of(session).filter((ino) => !after.has(ino));
    for (const [ino, handles] of after) this.#put(session, ino, handles);
    for (const ino of gone) this.#put(session, ino, NONE);
    return gone.filter((ino) => !this.isOpen(ino));
  }

  /** The session is gone. Returns the inodes that nobody has open any more. */
  drop(session: number): number[] {
    const left = this.replace(session, []);
    this.#bySession.delete(session);
    return left;
  }

  #put(session: number, ino: number, after: HandleCount): void {
    const files = this.#bySession.get(session) ?? new Map<number, HandleCount>();
    const before = files.get(ino) ?? NONE;
    const wasShared = this.isShared(ino);
    const { sessions, writing } = this.#holders.get(ino) ?? { sessions: 0, writing: 0 };
    const holders = {
      sessions: sessions + sign(after.count) - sign(before.count),
      writing: writing + sign(after.writers) - sign(before.writers),
    };
    if (after.count > 0) {
      this.#bySession.set(session, files);
      files.set(ino, after);
    } else files.delete(ino);
    if (holders.sessions > 0) this.#holders.set(ino, holders);
    else this.#holders.delete(ino);
    if (this.isShared(ino) === wasShared) return;
    if (wasShared) this.watcher?.unshared(ino);
    else this.watcher?.shared(ino, session);
  }
}

const NONE: HandleCount = { count: 0, writers: 0 };

function sign(count: number): 0 | 1 {
  return count > 0 ? 1 : 0;
}
