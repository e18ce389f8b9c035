/**
 * Payloads for processes on the same machine: the sender keeps them in a file in memory that has no name, the receiver
 * reads them from there through /proc/PID/fd. What arrives is checked like any payload, by its checksum; nothing is left
 * behind when a process dies.
 */
import { closeSync, constants, fstatSync, openSync, statSync, unlinkSync, writeSync, type Stats } from "node:fs";
import { fail } from "../../proto/errno.js";
import type { Shared } from "../../proto/gen/bigfs/v1/store.js";
import { readAll } from "./chunks/open-file.js";
import { isHere, thisProcess } from "./process.js";

const FOLDER = "/dev/shm";
/** Payloads at once; more go in their messages. */
const SLOTS_MAX = 16;

/** A payload that others may read until it is released. */
export interface Lent {
  readonly shared: Shared;
  release(): void;
}

export class SharedMemory {
  readonly #process = thisProcess();
  readonly #free: number[] = [];
  #slots = 0;

  private constructor(
    private readonly fd: number,
    private readonly slotBytes: number,
  ) {}

  /** For payloads of at most `slotBytes`. Throws a system error where there is no /dev/shm. */
  static open(slotBytes: number): SharedMemory {
    const path = `${FOLDER}/bigfs-${process.pid}-${process.hrtime.bigint()}`;
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    unlinkSync(path);
    return new SharedMemory(fd, slotBytes);
  }

  /** undefined: there is no room for it now. */
  lend(data: Buffer): Lent | undefined {
    if (data.length > this.slotBytes) return undefined;
    const slot = this.#free.pop() ?? (this.#slots < SLOTS_MAX ? this.#slots++ : undefined);
    if (slot === undefined) return undefined;
    const off = slot * this.slotBytes;
    const release = (): void => void this.#free.push(slot);
    if (!this.#write(data, off)) {
      release();
      return undefined;
    }
    return { shared: { process: this.#process, fd: this.fd, off, len: data.length }, release };
  }

  close(): void {
    closeSync(this.fd);
  }

  #write(data: Buffer, off: number): boolean {
    try {
      return writeSync(this.fd, data, 0, data.length, off) === data.length;
    } catch {
      // The machine gives no more memory for it.
      return false;
    }
  }
}

/** The payload; EFAULT when it cannot be read here. */
export async function readShared({ process, fd, off, len }: Shared): Promise<Buffer> {
  if (!isHere(process)) fail("EFAULT", "the sender is not on this machine");
  const file = openShared(process.pid, fd);
  try {
    const bytes = await readAll(file, { off, len });
    return bytes.length === len ? bytes : fail("EFAULT", "the shared memory is shorter");
  } finally {
    closeSync(file);
  }
}

function openShared(pid: number, fd: number): number {
  const path = `/proc/${pid}/fd/${fd}`;
  try {
    const { uid } = statSync(`/proc/${pid}`);
    // Anything else is none of ours, although this process may be allowed to read it. Even to open it can have effects;
    // and what is looked at may be another file when it is opened.
    if (isShared(statSync(path), uid)) {
      const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      if (isShared(fstatSync(file), uid)) return file;
      closeSync(file);
    }
  } catch (error) {
    fail("EFAULT", `the sender's memory cannot be opened: ${(error as Error).message}`);
  }
  return fail("EFAULT", "not shared memory");
}

/** A file in memory that has no name, of the user who runs the sender. */
function isShared(file: Stats, uid: number): boolean {
  return file.isFile() && file.nlink === 0 && file.uid === uid && file.dev === statSync(FOLDER).dev;
}
