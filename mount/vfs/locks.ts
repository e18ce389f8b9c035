/**
 * Locks of programs on files. The metadata daemon decides about them, or this mount while it is alone with the locks of
 * a file. What was written under a lock is stored before somebody else can get it, and whoever gets a lock sees what was
 * stored before.
 */
import { FsError, errnoOf } from "../../proto/errno.js";
import type { HeldLocks } from "../../proto/gen/bigfs/v1/meta.js";
import { type HeldLock, LOCK, beforeConversion, conflictOf, endOf, withLock } from "../../daemon/common/file-locks.js";
import type { InodeAttributes } from "./attributes.js";
import { type Core, SELF } from "./core.js";
import type { FileState } from "./file-state.js";
import type { FileHandle } from "./open-files.js";
import { Mutex } from "./waiting.js";

interface LockedFile {
  held: readonly HeldLock[];
  /** This mount decides. */
  isDelegated: boolean;
  /** One request at a time, so that what is held here and there stays the same. */
  readonly order: Mutex;
  /** Those who wait try again. */
  readonly waiting: Set<() => void>;
}

export class Locks {
  readonly #files = new Map<number, LockedFile>();
  /** Sessions that were given up. */
  #fences = 0;

  constructor(
    private readonly core: Core,
    private readonly attributes: InodeAttributes,
  ) {}

  /** EAGAIN when it is held by others; with `wait` it is waited for, until that is aborted (EINTR). */
  async set(open: FileHandle, lock: HeldLock, wait?: AbortSignal): Promise<void> {
    const { ino } = open.file;
    open.hasLocked = true;
    if (!lock.flock && lock.kind !== LOCK.none) open.lockOwners.add(lock.owner);
    for (;;) {
      const fences = this.#fences;
      const file = this.#file(ino);
      let wake = (): void => undefined;
      // Before the try, or what ends meanwhile would not wake it.
      const freed = new Promise<void>((resolve) => file.waiting.add((wake = resolve)));
      try {
        return await file.order.run(() => this.#try(open.file, file, lock, wait !== undefined));
      } catch (error) {
        // The lock was asked for in a session that is no more: it is free, or held by others in theirs.
        if (this.#fences !== fences && !open.isDead) continue;
        if (wait === undefined || errnoOf(error) !== "EAGAIN") throw error;
        await freedOrAborted(wait, freed);
      } finally {
        file.waiting.delete(wake);
      }
      if (open.isDead) throw new FsError("EIO", "locks of this file were lost");
    }
  }

  /** What is in the way of it. */
  async get({ file: { ino } }: FileHandle, lock: HeldLock): Promise<HeldLock | undefined> {
    const file = this.#file(ino);
    return file.order.run(async () => {
      if (file.isDelegated) return conflictOf(file.held, lock);
      return this.core.ask("getlock", { ino, lock }, SELF, (reply) => reply.lock);
    });
  }

  /** Something was asked about locks of this file. */
  has(ino: number): boolean {
    return this.#files.has(ino);
  }

  /** A descriptor was closed: POSIX ends all locks of its process on the file, flock those of the open file. */
  async release(open: FileHandle, owner: string, flock: boolean): Promise<void> {
    const held = this.#files.get(open.file.ino)?.held ?? [];
    if (!flock) open.lockOwners.delete(owner);
    if (held.some((lock) => lock.owner === owner && lock.flock === flock)) await this.set(open, endOf(owner, flock));
  }

  /** The file is not open here any more. */
  closed(ino: number): void {
    if (!this.#files.delete(ino)) return;
    this.core.opts.onLocked?.(ino, false);
    this.core.parts.meta.tell("locks", { ino, locks: [], delegated: false });
  }

  /** Another mount wants a lock. What was written here is stored first. */
  async wanted(ino: number): Promise<void> {
    const file = this.#file(ino);
    await file.order.run(async () => {
      await this.core.inodes.get(ino)?.file?.writer.flush();
      file.isDelegated = false;
      this.#tell(ino, file);
    });
  }

  /** What is held, unless that was lost with the session meanwhile. */
  #tell(ino: number, file: LockedFile): void {
    if (this.#files.get(ino) !== file) return;
    this.core.parts.meta.tell("locks", { ino, locks: [...file.held], delegated: file.isDelegated });
  }

  /** A lock has ended for which something here waits. */
  freed(ino: number): void {
    const file = this.#files.get(ino);
    if (file !== undefined) wakeAll(file);
  }

  /** What is held, to declare it again; what waits asks again, because it is not known any more that it does. */
  declared(): HeldLocks[] {
    const all: HeldLocks[] = [];
    for (const [ino, file] of this.#files) {
      wakeAll(file);
      all.push({ ino, locks: [...file.held], delegated: file.isDelegated });
    }
    return all;
  }

  /** The session was given up, and its locks with it. Returns the files of which some were held. */
  fenced(): ReadonlySet<number> {
    this.#fences += 1;
    const lost = new Set<number>();
    for (const [ino, file] of this.#files) {
      if (file.held.length > 0) lost.add(ino);
      wakeAll(file);
    }
    this.#files.clear();
    return lost;
  }

  async #try(state: FileState, file: LockedFile, lock: HeldLock, wait: boolean): Promise<void> {
    const { core } = this;
    const { ino } = state;
    this.#mustBeKept(ino, file);
    if (file.isDelegated) return decide(file, lock);
    // Others may get what this one gives up.
    if (lock.kind !== LOCK.write) await state.writer.flush();
    this.#mustBeKept(ino, file);
    try {
      const { delegated } = await core.ask("lock", { ino, lock, wait }, SELF, (reply) => reply);
      if (this.#files.get(ino) !== file) await this.#tellAnew(ino);
      this.#mustBeKept(ino, file);
      file.held = withLock(file.held, lock);
      file.isDelegated = delegated;
    } catch (error) {
      file.held = beforeConversion(file.held, lock);
      // It may have been done although no answer came.
      if (errnoOf(error) !== "EAGAIN") this.#tell(ino, file);
      throw error;
    }
    if (lock.kind !== LOCK.write) wakeAll(file);
    if (lock.kind !== LOCK.none) await this.#revalidate(state);
  }

  /** What was known of the locks of a file goes with the session. */
  #mustBeKept(ino: number, file: LockedFile): void {
    if (this.#files.get(ino) !== file) throw new FsError("EIO", "locks of this file were lost");
  }

  /** A lock was had in the next session that nobody knows of there. */
  async #tellAnew(ino: number): Promise<void> {
    const file = this.#file(ino);
    await file.order.run(() => Promise.resolve(this.#tell(ino, file)));
  }

  /** What others have stored before is seen by whoever reads now. */
  async #revalidate(file: FileState): Promise<void> {
    const { core } = this;
    const { inode } = file;
    if (!core.inodes.isCached(inode)) await this.attributes.refresh(inode.ino);
    if (inode.pagesVersion === 0 || inode.pagesVersion === inode.attr.version) return;
    file.changed();
    await core.kernel.dropData(inode.ino, 0, 0);
  }

  #file(ino: number): LockedFile {
    const known = this.#files.get(ino);
    if (known !== undefined) return known;
    this.core.opts.onLocked?.(ino, true);
    const file: LockedFile = { held: [], isDelegated: false, order: new Mutex(), waiting: new Set() };
    this.#files.set(ino, file);
    return file;
  }
}

function decide(file: LockedFile, lock: HeldLock): void {
  const before = file.held;
  file.held = beforeConversion(before, lock);
  const isBlocked = conflictOf(file.held, lock) !== undefined;
  const frees = file.held.length < before.length || (!isBlocked && lock.kind !== LOCK.write);
  if (!isBlocked) file.held = withLock(file.held, lock);
  if (frees) wakeAll(file);
  if (isBlocked) throw new FsError("EAGAIN");
}

function wakeAll(file: LockedFile): void {
  for (const wake of [...file.waiting]) wake();
}

/** Resolves when it is freed; EINTR when the wait is given up. */
function freedOrAborted(wait: AbortSignal, freed: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(new FsError("EINTR"));
    if (wait.aborted) return abort();
    wait.addEventListener("abort", abort, { once: true });
    void freed.then(() => {
      wait.removeEventListener("abort", abort);
      resolve();
    });
  });
}
