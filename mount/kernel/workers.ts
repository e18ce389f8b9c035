import type { Addon, WorkersHandle } from "./addon.js";

/** Threads of each lane. Blocked notifications wait for locks of different folders and files, so several may. */
const LANES = { attributes: 0, blocking: 1, unmount: 2 } as const;
const THREADS = { attributes: 1, blocking: 16, unmount: 2 } as const;

/** System calls that may wait for this process itself, done by threads. Results: 0 or -errno. */
export class Workers {
  readonly #addon: Addon;
  readonly #handle: WorkersHandle;
  readonly #waiting = new Map<number, (result: number) => void>();
  readonly #idlers: (() => void)[] = [];
  #nextId = 1;
  #stopped = false;

  constructor(addon: Addon) {
    this.#addon = addon;
    const done = (id: number, result: number) => this.#done(id, result);
    this.#handle = addon.startWorkers(done, THREADS.attributes, THREADS.blocking, THREADS.unmount);
  }

  write(lane: "attributes" | "blocking", fd: number, message: Buffer): Promise<number> {
    return this.#submit((id) => this.#addon.workerWrite(this.#handle, LANES[lane], id, fd, message));
  }

  unmount(path: string, how: "plain" | "lazy" | "force"): Promise<number> {
    const mode = how === "plain" ? 0 : how === "lazy" ? 1 : 2;
    return this.#submit((id) => this.#addon.workerUnmount(this.#handle, LANES.unmount, id, path, mode));
  }

  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    if (this.#waiting.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idlers.push(resolve));
  }

  /** What is under way is finished by the threads; what comes later is answered with -ESHUTDOWN. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#addon.stopWorkers(this.#handle);
  }

  #submit(start: (id: number) => number): Promise<number> {
    if (this.#stopped) return Promise.resolve(-108);
    const id = this.#nextId;
    this.#nextId = (id % 0x7fff_ffff) + 1;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      const result = start(id);
      if (result < 0) this.#done(id, result);
    });
  }

  #done(id: number, result: number): void {
    this.#waiting.get(id)?.(result);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) for (const wake of this.#idlers.splice(0)) wake();
  }
}
