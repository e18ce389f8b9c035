import type { OpenFile } from "../../proto/gen/bigfs/v1/meta.js";

/** Which sessions have which inodes open, and how often. In memory only: sessions declare it again after a restart. */
export class Opens {
  readonly #bySession = new Map<number, Map<number, number>>();
  /** Sessions that have the inode open; only those above 0. */
  readonly #holders = new Map<number, number>();

  isOpen(ino: number): boolean {
    return this.#holders.has(ino);
  }

  /** Somebody else than this session has it open. */
  isOpenElsewhere(session: number, ino: number): boolean {
    const own = this.#bySession.get(session)?.has(ino) === true ? 1 : 0;
    return (this.#holders.get(ino) ?? 0) > own;
  }

  isOpenBy(session: number, ino: number): boolean {
    return this.#bySession.get(session)?.has(ino) === true;
  }

  /** Inodes that this session has open. */
  countOf(session: number): number {
    return this.#bySession.get(session)?.size ?? 0;
  }

  open(session: number, ino: number, count = 1): void {
    if (count < 1) return;
    const files = this.#bySession.get(session) ?? new Map<number, number>();
    this.#bySession.set(session, files);
    const before = files.get(ino) ?? 0;
    if (before === 0) this.#holders.set(ino, (this.#holders.get(ino) ?? 0) + 1);
    files.set(ino, before + count);
  }

  /** True when nobody has it open now and this session had. */
  close(session: number, ino: number, count = 1): boolean {
    const files = this.#bySession.get(session);
    const before = files?.get(ino);
    if (files === undefined || before === undefined) return false;
    if (before > count) {
      files.set(ino, before - count);
      return false;
    }
    files.delete(ino);
    return this.#release(ino);
  }

  /** The session says that it has these open: at least so many times. */
  atLeast(session: number, declared: readonly OpenFile[]): void {
    for (const { ino, count } of declared) {
      this.open(session, ino, count - (this.#bySession.get(session)?.get(ino) ?? 0));
    }
  }

  /** The session has exactly these open. Returns the inodes that nobody has open any more. */
  replace(session: number, declared: readonly OpenFile[]): number[] {
    const before = [...(this.#bySession.get(session)?.keys() ?? [])];
    const after = new Map<number, number>();
    for (const { ino, count } of declared) {
      if (count < 1) continue;
      if (!after.has(ino)) this.#holders.set(ino, (this.#holders.get(ino) ?? 0) + 1);
      after.set(ino, (after.get(ino) ?? 0) + count);
    }
    this.#bySession.set(session, after);
    return before.filter((ino) => this.#release(ino));
  }

  /** The session is gone. Returns the inodes that nobody has open any more. */
  drop(session: number): number[] {
    const left = this.replace(session, []);
    this.#bySession.delete(session);
    return left;
  }

  #release(ino: number): boolean {
    const holders = (this.#holders.get(ino) ?? 0) - 1;
    if (holders > 0) this.#holders.set(ino, holders);
    else this.#holders.delete(ino);
    return holders <= 0;
  }
}
