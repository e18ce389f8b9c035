/** A program that takes locks on files which others lock, too, and changes them under the lock only. */
import { LOCK, LOCK_END } from "../../daemon/common/file-locks.js";
import { FsError } from "../../proto/errno.js";
import type { FileLock } from "../../proto/gen/bigfs/v1/meta.js";
import { READ, type Open } from "./eyes.js";
import type { FileModel } from "./files-model.js";
import type { Hold, LockModel } from "./lock-model.js";
import { Writer, type WriterParts } from "./writer.js";

const WRITE = { ...READ, write: true };
/** Cells of a file that is locked; so many of them are written at once. */
export const LOCKABLE_CELLS = 60;
const COUNT = 12;
/** Who waits for a lock gives up after this; whoever has one keeps it for less. */
const WAIT_MS = 60_000;
const HOLD_MS = 1_500;
const LONG_MS = 16_000;

/** A file that programs lock, all by flock or all by fcntl. */
export interface Lockable {
  readonly file: FileModel;
  readonly flock: boolean;
}

export class Locker extends Writer {
  constructor(
    name: string,
    parts: WriterParts,
    private readonly lockables: readonly Lockable[],
    private readonly locks: LockModel,
  ) {
    super(name, parts);
  }

  /** Takes a lock once, or tries to. */
  async step(): Promise<void> {
    const { chance } = this.parts;
    const lockable = this.lockables[chance.below(this.lockables.length)]!;
    if (this.attach()) await this.guarded(() => this.#once(lockable));
  }

  /** Nobody holds anything any more: each lock must be granted at once. */
  async audit(): Promise<void> {
    this.attach();
    for (const lockable of this.lockables) {
      await this.guarded(async () => {
        const open = await this.openFile(lockable.file, WRITE);
        if (open === undefined) return;
        if (!(await this.#lock(open, lockable, LOCK.write, false)))
          this.parts.model.report(`nobody has a lock on file ${open.file.ino}, and it is not granted`);
        await this.#set(open, lockable, LOCK.none);
        await this.close(open);
      });
    }
  }

  async #once(lockable: Lockable): Promise<void> {
    const { chance, model } = this.parts;
    const open = await this.openFile(lockable.file, WRITE);
    if (open === undefined) return;
    const kind = chance.happens(0.7) ? LOCK.write : LOCK.read;
    if (!(await this.#lock(open, lockable, kind, chance.happens(0.7)))) return this.release(open);
    const granted = model.moments.next();
    const hold = this.locks.granted(open.file, { isExclusive: kind === LOCK.write, name: this.name, granted });
    this.note(`has locked file ${open.file.ino} (${kind}) at ${granted}`);
    try {
      await this.#work({ ...open, opened: granted }, hold);
    } finally {
      this.locks.ended(open.file, hold);
    }
    await this.#unlock(open, lockable);
  }

  /** As the kernel does it: whatever has failed, closing ends its locks. */
  protected override async release(open: Open): Promise<void> {
    await this.during((fs) => fs.flush(open.handle, this.name)).catch((error: unknown) => {
      if (!(error instanceof FsError)) throw error;
    });
    await this.during((fs) => fs.release(open.handle, this.name));
  }

  /** What a program does under its lock: reads what the one before it has left, and goes on from there. */
  async #work(open: Open, hold: Hold): Promise<void> {
    const { chance, model, pause } = this.parts;
    const rounds = 1 + chance.below(2);
    for (let round = 0; round < rounds; round++) {
      const start = model.moments.next();
      if ((await this.read(open)) === undefined) return;
      this.locks.worked(hold, start, model.report);
      open.file.settled(this.who(), hold.granted);
      if (hold.isExclusive) await this.put(open, chance.below(LOCKABLE_CELLS - COUNT), 1 + chance.below(COUNT));
      if (hold.isExclusive && chance.happens(0.4)) {
        const asked = model.moments.next();
        if (chance.happens(0.5)) await this.sync(open);
        else await this.flush(open);
        this.locks.worked(hold, asked, model.report);
      }
      await pause(chance.next() * (chance.happens(0.1) ? LONG_MS : HOLD_MS));
    }
  }

  /** By itself, which leaves the file open for a while, or by closing it. */
  async #unlock(open: Open, lockable: Lockable): Promise<void> {
    const { chance, model, pause } = this.parts;
    if (chance.happens(0.6)) {
      const start = model.moments.next();
      try {
        await this.#set(open, lockable, LOCK.none);
      } catch (error) {
        await this.failed(open);
        throw error;
      }
      open.file.unlocked({ ...this.who(), handle: open.handle }, start, model.moments.next());
      await pause(chance.next() * HOLD_MS);
    }
    await this.flush(open, lockable.flock ? undefined : this.name);
    await this.during((fs) => fs.release(open.handle, lockable.flock ? this.name : undefined));
  }

  /** False: others hold it, and go on holding it for as long as this waits. */
  async #lock(open: Open, lockable: Lockable, kind: number, waits: boolean): Promise<boolean> {
    const { model, pause } = this.parts;
    const wait = new AbortController();
    if (waits) void pause(WAIT_MS).then(() => wait.abort());
    try {
      await this.#set(open, lockable, kind, waits ? wait.signal : undefined);
      return true;
    } catch (error) {
      if (!(error instanceof FsError) || (error.errno !== "EAGAIN" && error.errno !== "EINTR")) {
        await this.failed(open);
        throw error;
      }
      if (waits && this.parts.isCalm()) model.report(`a lock on file ${open.file.ino} is never granted`);
      return false;
    }
  }

  #set({ handle }: Open, { flock }: Lockable, kind: number, wait?: AbortSignal): Promise<void> {
    const lock: FileLock = { owner: this.name, flock, kind, start: 0, end: LOCK_END, pid: 1 };
    return this.ask(async (fs) => fs.setLock(handle, lock, wait));
  }
}
