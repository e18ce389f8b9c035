/**
 * Locks of all sessions. They are in memory only: a session declares its own again after a restart, before others are
 * served, and they end with it.
 *
 * A session that is alone with the locks of a file decides about them by itself (a delegation, as NFSv4 has it): another
 * session's first request takes that back.
 */
import { FsError } from "../../proto/errno.js";
import { LIMITS } from "../../proto/limits.js";
import type { FileLock, HeldLocks, LockReply } from "../../proto/gen/bigfs/v1/meta.js";
import { type HeldLock, LOCK, beforeConversion, conflictOf, withLock } from "../common/file-locks.js";

export interface LocksParts {
  /** Tells a session that another one wants locks of this file, or that one has ended; lost when it is away. */
  readonly wanted: (session: number, ino: number) => void;
  readonly freed: (session: number, ino: number) => void;
}

/** Who asks. */
export interface Holder {
  readonly id: number;
  readonly isEnded: boolean;
}

interface Taking {
  readonly done: Promise<void>;
  readonly resolve: () => void;
}

interface LockedFile {
  /** With the session in front of the owner. */
  held: readonly HeldLock[];
  delegate: number | undefined;
  /** The delegation is being taken back. */
  taking: Taking | undefined;
  /** Sessions to be told when a lock ends. */
  readonly waiting: Set<number>;
}

const OWNER_CHARS = 64;

export class Locks {
  readonly #files = new Map<number, LockedFile>();

  constructor(private readonly parts: LocksParts) {}

  /** Files that have locks, or somebody who decides about them. */
  get size(): number {
    return this.#files.size;
  }

  /** EAGAIN: another session's is in the way; with `wait` this one is told when to try again. */
  async set(holder: Holder, ino: number, lock: FileLock, wait: boolean): Promise<LockReply> {
    mustBeSound(lock);
    const { id: session } = holder;
    // What was looked up before a wait may be another one, or none, after it.
    for (let taken; (taken = this.#takeBack(session, ino)) !== undefined;) await taken;
    const file = this.#file(ino);
    if (holder.isEnded) throw new FsError("ESTALE", "the session has ended");
    const wanted = ofSession(session, lock);
    const held = beforeConversion(file.held, wanted);
    if (conflictOf(held, wanted) !== undefined) {
      if (held.length < file.held.length) this.#put(ino, file, held, true);
      if (wait) file.waiting.add(session);
      throw new FsError("EAGAIN", "another mount has a lock there");
    }
    const next = withLock(held, wanted);
    if (next.length > LIMITS.locksPerFile) throw new FsError("ENOLCK", `${LIMITS.locksPerFile} locks on one file`);
    this.#put(ino, file, next, lock.kind !== LOCK.write);
    const isAlone = lock.kind !== LOCK.none && file.waiting.size === 0 && file.held.every(isOf(session));
    if (isAlone) file.delegate = session;
    return { delegated: isAlone };
  }

  /** What is in the way of it; the process of another session's is not known here. */
  async get(session: number, ino: number, lock: FileLock): Promise<FileLock | undefined> {
    for (let taken; (taken = this.#takeBack(session, ino)) !== undefined;) await taken;
    const file = this.#file(ino);
    const conflict = conflictOf(file.held, ofSession(session, lock));
    this.#put(ino, file, file.held, false);
    if (conflict === undefined) return undefined;
    return { ...conflict, pid: isOf(session)(conflict) ? conflict.pid : 0 };
  }

  /** The session has exactly these. */
  declare(session: number, { ino, locks, delegated }: HeldLocks): void {
    const file = this.#file(ino);
    const others = file.held.filter((lock) => !isOf(session)(lock));
    if (delegated && file.delegate === undefined && others.length === 0) file.delegate = session;
    else if (!delegated && file.delegate === session) this.#undelegate(file);
    this.#put(ino, file, [...others, ...locks.map((lock) => ofSession(session, lock))], true);
    if (file.delegate === session && file.taking !== undefined) this.parts.wanted(session, ino);
  }

  /** The session is back, perhaps on another stream, and has these and no others. */
  declareAll(session: number, all: readonly HeldLocks[]): void {
    const declared = new Map(all.map((held) => [held.ino, held]));
    for (const ino of [...this.#files.keys()]) {
      if (!declared.has(ino)) this.close(session, ino);
    }
    for (const held of all) this.declare(session, held);
  }

  /** The session does not have the file open any more. */
  close(session: number, ino: number): void {
    const file = this.#files.get(ino);
    if (file === undefined) return;
    file.waiting.delete(session);
    this.declare(session, { ino, locks: [], delegated: false });
  }

  /** The session is over. */
  end(session: number): void {
    this.declareAll(session, []);
  }

  /** Takes the decision about the file's locks back from another session; undefined: none has it. */
  #takeBack(session: number, ino: number): Promise<void> | undefined {
    const file = this.#files.get(ino);
    if (file?.delegate === undefined || file.delegate === session) return undefined;
    if (file.taking === undefined) {
      file.taking = taking();
      this.parts.wanted(file.delegate, ino);
    }
    return file.taking.done;
  }

  #file(ino: number): LockedFile {
    const known = this.#files.get(ino);
    if (known !== undefined) return known;
    const file: LockedFile = { held: [], delegate: undefined, taking: undefined, waiting: new Set() };
    this.#files.set(ino, file);
    return file;
  }

  #undelegate(file: LockedFile): void {
    file.delegate = undefined;
    file.taking?.resolve();
    file.taking = undefined;
  }

  /** `frees`: something may have ended or become weaker, so whoever waits tries again. */
  #put(ino: number, file: LockedFile, held: readonly HeldLock[], frees: boolean): void {
    file.held = held;
    for (const session of frees ? [...file.waiting] : []) {
      file.waiting.delete(session);
      this.parts.freed(session, ino);
    }
    if (held.length === 0 && file.delegate === undefined && file.taking === undefined) this.#files.delete(ino);
  }
}

/** EINVAL for what is no lock. */
function mustBeSound({ owner, kind, start, end }: FileLock): void {
  if (owner.length > OWNER_CHARS || kind > LOCK.none || start > end) throw new FsError("EINVAL", "not a lock");
}

function taking(): Taking {
  let resolve = (): void => undefined;
  const done = new Promise<void>((tell) => (resolve = tell));
  return { done, resolve };
}

function ofSession(session: number, lock: FileLock): FileLock {
  return { ...lock, owner: `${session}/${lock.owner}` };
}

function isOf(session: number): (lock: HeldLock) => boolean {
  const prefix = `${session}/`;
  return ({ owner }) => owner.startsWith(prefix);
}
