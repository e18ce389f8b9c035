/**
 * Reads every chunk against its checksums again and again, folder by folder, the one that was not read for the longest
 * time first. What is bad goes to quarantine and is reported, as when a user's read had found it.
 *
 * Invariants:
 * - A folder's time is when its reading began, and it is recorded when all its chunks were read.
 * - At the end of the period everything was read, also with users' work all the time (scrub-plan.ts).
 */
import type { Logger } from "pino";
import { z } from "zod";
import { FOLDERS, folderNumber } from "../common/chunks/layout.js";
import type { Clock } from "../common/clock.js";
import { writeDurably } from "../common/durable.js";
import type { Registry } from "../common/metrics.js";
import type { Random } from "../common/random.js";
import { Task } from "../common/tasks.js";
import type { ChunkStore } from "./chunk-store.js";
import { codeOf, type Disk } from "./disk.js";
import { nextFolder, oldestFolder, pauseMs, type ScrubState } from "./scrub-plan.js";

export interface ScrubParts {
  readonly store: Pick<ChunkStore, "ids" | "entry" | "verify" | "stats">;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
  readonly registry: Registry;
  readonly random?: Random;
}

export interface ScrubOptions {
  /** Where it is recorded what was read when. */
  readonly path: string;
  /** Every chunk is read within this. */
  readonly periodMs: number;
}

/** So often within the period it is looked at what is due. */
const LOOKS = 512;

const recorded = z.strictObject({ times: z.array(z.number()).length(FOLDERS), wanted: z.number() });

export class Scrub {
  /** Reads what is due. */
  readonly task: Task;
  readonly #listeners: ((bytes: number) => void)[] = [];
  #times: number[];
  #wanted: number;
  /** Folders that held chunks at the latest look. */
  #holds: ReadonlySet<number> = new Set();

  private constructor(
    private readonly parts: ScrubParts,
    private readonly opts: ScrubOptions,
    state: ScrubState,
  ) {
    this.#times = [...state.times];
    this.#wanted = state.wanted;
    this.#look();
    this.task = new Task(parts, {
      name: "scrub",
      periodMs: opts.periodMs / LOOKS,
      run: (signal) => this.#run(signal),
    });
  }

  /** Goes on where the record says; without one, everything counts as read now. */
  static async open(parts: ScrubParts, opts: ScrubOptions): Promise<Scrub> {
    const now = wallMs(parts.clock);
    const fresh: ScrubState = { times: new Array<number>(FOLDERS).fill(now), wanted: 0 };
    return new Scrub(parts, opts, (await load(parts, opts.path)) ?? fresh);
  }

  /** Seconds since the chunk that was not read for the longest time was read, at most; 0: there is none. */
  get oldestSec(): number {
    const oldest = oldestFolder(this.#times, this.#holds);
    return oldest === undefined ? 0 : Math.max(0, Math.round((this.#now - (this.#times[oldest] ?? 0)) / 1000));
  }

  /** Called for each chunk that was read and is good. */
  onRead(listener: (bytes: number) => void): void {
    this.#listeners.push(listener);
  }

  /** Reads all that is here; resolves when that is done, or fails. After a restart the rest is read. */
  async all(): Promise<void> {
    this.#wanted = this.#now;
    await this.#save();
    await this.task.runOnce().catch(() => {}); // which the task has logged
  }

  get #now(): number {
    return wallMs(this.parts.clock);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { periodMs } = this.opts;
    this.#look();
    for (;;) {
      const plan = { holds: this.#holds, now: this.#now, periodMs };
      const folder = nextFolder({ times: this.#times, wanted: this.#wanted }, plan);
      if (folder === undefined || signal.aborted) return;
      const begun = this.#now;
      await this.#folder(folder, signal);
      if (signal.aborted) return;
      this.#times[folder] = begun;
      await this.#save();
    }
  }

  /** What holds chunks; and no time lies ahead, where a clock that was wrong may have put it. */
  #look(): void {
    const now = this.#now;
    this.#holds = new Set(Array.from(this.parts.store.ids(), folderNumber));
    this.#times = this.#times.map((time, folder) => (this.#holds.has(folder) ? Math.min(time, now) : now));
    this.#wanted = Math.min(this.#wanted, now);
  }

  /** Rejects when a chunk could not be looked at, after the others were. */
  async #folder(folder: number, signal: AbortSignal): Promise<void> {
    const { store } = this.parts;
    const failures: unknown[] = [];
    for (const id of store.ids().filter((one) => folderNumber(one) === folder)) {
      if (signal.aborted) return;
      try {
        const { len } = await store.verify(id);
        for (const listener of this.#listeners) listener(len);
        await this.#pause(len, signal);
      } catch (error) {
        // One that is here no more was found bad, and reported, or was removed meanwhile.
        if (store.entry(id) !== undefined) failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  #pause(bytes: number, signal: AbortSignal): Promise<void> {
    const { store, clock } = this.parts;
    const { used, busy } = store.stats;
    const ms = pauseMs(bytes, { used, periodMs: this.opts.periodMs, isBusy: busy > 0 });
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        signal.removeEventListener("abort", end);
        resolve();
      };
      const cancel = clock.after(ms, end);
      signal.addEventListener("abort", end, { once: true });
    });
  }

  async #save(): Promise<void> {
    const state: ScrubState = { times: this.#times, wanted: this.#wanted };
    try {
      await writeDurably(this.opts.path, Buffer.from(JSON.stringify(state)), { disk: this.parts.disk });
    } catch (error) {
      // Then something is read once more after a restart.
      this.parts.log.warn({ err: error, path: this.opts.path }, "what was scrubbed cannot be recorded");
    }
  }
}

async function load({ disk, log }: ScrubParts, path: string): Promise<ScrubState | undefined> {
  try {
    const [bytes = Buffer.alloc(0)] = await disk.read(path, [{ off: 0, len: await disk.size(path) }]);
    return recorded.parse(JSON.parse(bytes.toString()));
  } catch (error) {
    if (codeOf(error) !== "ENOENT") log.warn({ err: error, path }, "the record of what was scrubbed cannot be read");
    return undefined;
  }
}

function wallMs(clock: Clock): number {
  const { sec, nsec } = clock.now();
  return sec * 1000 + nsec / 1e6;
}
