import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { Control, type Measured } from "./meter.js";
import type { Scale } from "./scale.js";
import type { Workload } from "./workloads.js";

/** What a thread is started with. */
export interface ThreadData {
  readonly shared: Int32Array;
  /** Bytes of the largest single write or read. */
  readonly blockSize: number;
}

export interface Task {
  /** Of a workload. */
  readonly name: string;
  /** The thread's own folder. */
  readonly dir: string;
  readonly scale: Scale;
}

/** Neither: it was stopped. */
export interface Answer {
  readonly measured?: Measured;
  readonly failure?: Failure;
}

/** An error of a system call, by its errno name. */
export interface Failure {
  readonly code: string;
  readonly message: string;
}

/** A workload failed in a thread. */
export class WorkloadError extends Error {
  override readonly name = "WorkloadError";
  constructor(
    readonly title: string,
    readonly failure: Failure,
  ) {
    super(`${title}: ${failure.message}`);
  }
}

/**
 * Threads that do the same workload at the same time, each in its own folder. They call the filesystem synchronously, so
 * as many calls are under way as there are threads, and this thread stays free to show progress and to be interrupted.
 */
export class Crew {
  readonly #control = new Control();
  readonly #workers: readonly Worker[];

  constructor(
    private readonly signal: AbortSignal,
    opts: { readonly threads: number; readonly blockSize: number },
  ) {
    const workerData: ThreadData = { shared: this.#control.shared, blockSize: opts.blockSize };
    const script = new URL("./worker.js", import.meta.url);
    this.#workers = Array.from({ length: opts.threads }, () => new Worker(script, { workerData }));
    signal.addEventListener("abort", () => this.#control.stop());
    if (signal.aborted) this.#control.stop();
  }

  /** Calls made in the workload that runs. */
  get calls(): number {
    return this.#control.counted;
  }

  /** The folders of the threads in `dir`. */
  folders(dir: string): string[] {
    return this.#workers.map((_, i) => join(dir, `thread-${i}`));
  }

  async makeFolders(dir: string): Promise<void> {
    for (const path of this.folders(dir)) await mkdir(path);
  }

  /**
   * Runs a workload in all threads; what each measured. When it throws, nothing runs any more: the signal's reason, or a
   * WorkloadError, after which the crew does nothing further.
   */
  async run(workload: Workload, dir: string, scale: Scale): Promise<Measured[]> {
    this.#control.resetCount();
    const folders = this.folders(dir);
    const answers = await Promise.all(
      this.#workers.map(async (worker, i) => {
        const task: Task = { name: workload.name, dir: folders[i] ?? dir, scale };
        worker.postMessage(task);
        const [answer] = (await once(worker, "message")) as [Answer];
        return answer;
      }),
    );
    const failure = answers.find((answer) => answer.failure !== undefined)?.failure;
    if (failure !== undefined) throw new WorkloadError(workload.title, failure);
    this.signal.throwIfAborted();
    return answers.flatMap(({ measured }) => (measured === undefined ? [] : [measured]));
  }

  async stop(): Promise<void> {
    this.#control.stop();
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
