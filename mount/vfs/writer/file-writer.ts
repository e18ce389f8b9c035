import { FsError, errnoOf, type Errno } from "../../../proto/errno.js";
import type { CommitReply, SliceAt } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../../proto/gen/bigfs/v1/rows.js";
import { LIMITS } from "../../../proto/limits.js";
import type { Cancel } from "../../../daemon/common/clock.js";
import type { Ticket } from "../answers.js";
import { type Core, SELF } from "../core.js";
import { type ToldAttributes, requestFor } from "../told-attributes.js";
import { Backoff, Mutex, Semaphore, asError } from "../waiting.js";
import { append } from "./append.js";
import type { Budget } from "./budget.js";
import { Job } from "./job.js";
import { mergeInline } from "./merge-inline.js";
import { payloadOf, planUploads } from "./plan.js";
import { type Gap, type Run, Runs } from "./runs.js";
import type { Uploader } from "./uploader.js";

/** Uploads of one file at the same time. */
const UPLOADS_PER_FILE = 4;

/** A file with so many separate runs is written out: small random writes. */
const RUNS_MAX = 1024;

export interface FileWriterParts {
  readonly core: Core;
  readonly budget: Budget;
  readonly uploader: Uploader;
}

/** What a writer needs to know of its file, and tells about it. */
export interface FileWriterHost {
  readonly ino: number;
  /** Copies of its chunks that the file wants; 0: as many as the volume. */
  readonly replicas: number;
  /** Attributes that were set and go with the next commit. */
  readonly told: ToldAttributes | undefined;
  /** Size of the stored file. */
  storedSize(): number;
  /** Slices became part of the file, and `told` was set with them. Called before their bytes leave the writer. */
  committed(reply: CommitReply, slices: readonly SliceAt[], seq: number, ticket: Ticket): void;
  /** Bytes became part of the file, behind all that it had. */
  appended(reply: CommitReply, ticket: Ticket): void;
  /** Everything that was not committed is lost. */
  failed(errno: Errno): void;
  /** Went from clean to dirty, or back. */
  dirtied(isDirty: boolean): void;
}

/**
 * The data of one file on its way from `write` to the metadata.
 *
 * Invariants:
 * - Jobs are committed in the order in which they were made, and a job that makes the file longer takes along, or
 *   follows, everything that was written before it at lower positions behind the stored end. So whatever dies, a reader
 *   sees no zeros where something was written.
 * - The bytes of a job leave `runs` in the same step in which the file's slots learn of them.
 * - One commit at a time; none while somebody is inside `exclusive`.
 * - When something cannot be stored, everything that was not committed goes with it: committing what came later would
 *   leave a hole. The host tells it to every handle.
 */
export class FileWriter {
  readonly #runs: Runs;
  readonly #commits = new Mutex();
  readonly #lanes = new Semaphore(UPLOADS_PER_FILE);
  readonly #slotSize: number;
  #jobs: Job[] = [];
  #lastJob = 0;
  #settled = 0;
  /** Somebody waits for this job and those before it to be on disk. */
  #syncJob = 0;
  /** When this job was committed, everything that was done before was on disk. */
  #syncedJob = 0;
  #waiting: { readonly job: number; readonly resolve: () => void }[] = [];
  #isCommitting = false;
  #abort = new AbortController();
  #mtime: Time | undefined;
  #wasDirty = false;
  #hasAppends = false;
  #cancelTimer: Cancel | undefined;

  constructor(
    private readonly parts: FileWriterParts,
    private readonly host: FileWriterHost,
  ) {
    this.#slotSize = parts.core.parts.meta.volume.chunkSize;
    this.#runs = new Runs(parts.budget, this.#slotSize);
  }

  /** Something is not committed. */
  get isDirty(): boolean {
    return this.#runs.count > 0 || this.#jobs.length > 0;
  }

  /** Something that is not committed was appended: its place holds only as long as nobody else appends. */
  get hasAppends(): boolean {
    return this.#hasAppends && this.isDirty;
  }

  /** Some of it is on its way. */
  get isStoring(): boolean {
    return this.#jobs.length > 0;
  }

  /**
   * One past the last byte that is not committed, of those written under this trunc_seq or a later one; 0 when there is
   * none. Whether older bytes make the file longer is not known before they are committed.
   */
  endSince(seq: number): number {
    return this.#runs.endSince(seq);
  }

  /** Some of what is not committed was written before the file was cut to this trunc_seq. */
  hasOlderThan(seq: number): boolean {
    return this.#runs.hasOlderThan(seq);
  }

  /** Time of the latest write that is not committed, unless the time was set explicitly since. */
  get mtime(): Time | undefined {
    return this.#mtime;
  }

  /** Copies the data. `seq`: trunc_seq of the file now. `append`: `pos` is where the file ends. */
  write(pos: number, data: Buffer, seq: number, { append = false } = {}): void {
    this.#hasAppends = append || this.hasAppends;
    this.#runs.write(pos, data, seq);
    this.#mtime = this.parts.core.parts.meta.now();
    this.#note();
    const first = Math.floor(pos / this.#slotSize);
    const last = Math.floor((pos + data.length - 1) / this.#slotSize);
    for (let slot = first; slot <= last; slot++) if (this.#runs.coversSlot(slot)) this.#startSlot(slot);
    if (this.#runs.count > RUNS_MAX) this.start();
  }

  /**
   * Stores bytes that go wherever the file ends when they are committed, together. Everything else is committed, and
   * nothing is written meanwhile. Resolves with where they are.
   */
  append(data: Buffer): Promise<number> {
    return this.exclusive(() => append(this.parts, this.host, data));
  }

  /** Copies what is here of the file's bytes from `pos` on into the target; returns what is not. */
  copyInto(target: Buffer, pos: number): Gap[] {
    return this.#runs.copyInto(target, pos);
  }

  /** Begins to store everything. `sync`: on disk, because somebody asks for that. */
  start(sync = false): void {
    this.#begin(this.#runs.idle(), sync);
  }

  /** Resolves when everything written until now is committed, or was given up (which the host has been told). */
  flush(sync = false): Promise<void> {
    this.start(sync);
    const job = this.#lastJob;
    if (this.#settled >= job) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ job, resolve }));
  }

  /** The same, on disk. False: the metadata daemon must be asked, by Fsync, to make it so. */
  async sync(): Promise<boolean> {
    this.start(true);
    const job = this.#lastJob;
    if (this.#settled >= job) return false;
    this.#syncJob = job;
    await this.flush(true);
    return this.#syncedJob >= job;
  }

  /** No commit is under way while the work runs. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    return this.#commits.run(work);
  }

  /**
   * The file was cut at `size`: what was written beyond it is forgotten. What remains counts as written after it, when
   * nobody else cut the file in between. A commit that is under way the metadata daemon cuts, by its trunc_seq.
   */
  cutAt(size: number, seq: { before: number; after: number }): void {
    this.#runs.cut(size);
    for (const job of this.#jobs) job.cutAt(size);
    this.#note();
    if (seq.after > seq.before + 1) return;
    this.#runs.retag(seq.before, seq.after);
    for (const job of this.#jobs) if (job.seq === seq.before) job.seq = seq.after;
  }

  /** The time was set explicitly: what was written until now leaves it alone. */
  forgetMtime(): void {
    this.#mtime = undefined;
  }

  /** Gives up everything that is not committed. */
  fail(errno: Errno): void {
    if (!this.isDirty) return;
    this.#abort.abort();
    this.#abort = new AbortController();
    const jobs = this.#jobs;
    this.#jobs = [];
    this.#runs.clear();
    for (const job of jobs) job.release();
    this.#mtime = undefined;
    this.host.failed(errno);
    this.#settle(this.#lastJob);
  }

  #startSlot(slot: number): void {
    const start = slot * this.#slotSize;
    const end = start + this.#slotSize;
    const stored = this.host.storedSize();
    const grows = end > stored;
    this.#begin(
      this.#runs.idle(end).filter((run) => run.pos >= start || (grows && run.pos + run.len > stored)),
      false,
    );
  }

  #begin(runs: readonly Run[], sync: boolean): void {
    for (const seq of [...new Set(runs.map((run) => run.seq))].sort((a, b) => a - b)) {
      const chosen = runs.filter((run) => run.seq === seq);
      for (const plan of planUploads(
        chosen.map((run) => ({ ...run })),
        this.#slotSize,
      )) {
        const job = new Job(++this.#lastJob, plan, this.#slotSize);
        this.#jobs.push(job);
        job.stored = this.#store(job, sync, this.#abort.signal);
      }
      for (const run of chosen) run.job = this.#jobOf(run);
    }
    if (!this.#isCommitting && this.#jobs.length > 0) {
      this.#isCommitting = true;
      this.#commitAll().catch((error: unknown) => this.fail(errnoOf(error)));
    }
  }

  /** The newest job that stores the run's bytes. */
  #jobOf(run: Run): number {
    const job = this.#jobs.findLast((j) => j.plan.ranges.some((r) => r.pos <= run.pos && run.pos < r.pos + r.len));
    return job?.id ?? 0;
  }

  async #store(job: Job, sync: boolean, signal: AbortSignal): Promise<void> {
    if (job.plan.kind === "inline") return job.storedAs(0);
    try {
      await this.#lanes.run(async () => {
        if (signal.aborted) throw new FsError("EINTR");
        job.storedAs(
          await this.parts.uploader.store(payloadOf(job.plan), { sync, signal, replicas: this.host.replicas }),
        );
      });
    } catch (error) {
      job.error = asError(error);
    }
  }

  async #commitAll(): Promise<void> {
    try {
      for (;;) {
        const first = this.#jobs[0];
        if (first === undefined) return;
        await first.stored;
        await this.#commits.run(() => this.#commitReady());
      }
    } finally {
      this.#isCommitting = false;
    }
  }

  /** Commits the leading jobs that are stored, as many as one commit takes. */
  async #commitReady(): Promise<void> {
    const signal = this.#abort.signal;
    try {
      const ready = this.#ready();
      try {
        await this.#commit(ready, signal);
      } catch (error) {
        const first = ready[0];
        if (errnoOf(error) !== "EFBIG" || first === undefined) throw error;
        if (first.plan.kind === "inline") await this.#commitMerged(first, signal);
        else await this.#commit([first], signal);
      }
    } catch (error) {
      if (signal.aborted) return;
      this.parts.core.parts.log.warn({ err: error, ino: this.host.ino }, "written data could not be stored");
      this.fail(errnoOf(error) === "ENOSPC" ? "ENOSPC" : "EIO");
    }
  }

  /** Leading jobs that are stored and were written under one trunc_seq. Throws the error of one that failed. */
  #ready(): Job[] {
    const ready: Job[] = [];
    let count = 0;
    for (const job of this.#jobs) {
      if (job.error !== undefined && ready.length === 0) throw job.error;
      if (job.slices === undefined || job.seq !== (ready[0] ?? job).seq) break;
      count += job.slices.length;
      if (ready.length > 0 && count > LIMITS.slicesPerCommit) break;
      ready.push(job);
    }
    return ready;
  }

  /** An inline job that the metadata refused: its slots hold too many inline bytes already. */
  async #commitMerged(job: Job, signal: AbortSignal): Promise<void> {
    const { core, uploader } = this.parts;
    const file = {
      ino: this.host.ino,
      slotSize: this.#slotSize,
      store: (data: Buffer) => uploader.store(data, { sync: true, signal, replicas: this.host.replicas }),
    };
    const fresh = job.slices ?? [];
    const ticket = core.answers.begin();
    try {
      for (;;) {
        const { slices, ifVersion } = await mergeInline(core, file, fresh, ticket);
        job.slices = slices;
        try {
          await this.#commit([job], signal, ifVersion);
          return;
        } catch (error) {
          if (errnoOf(error) !== "EBUSY" || signal.aborted) throw error;
        }
      }
    } finally {
      core.answers.end(ticket);
    }
  }

  async #commit(jobs: readonly Job[], signal: AbortSignal, ifVersion?: number): Promise<void> {
    const { core } = this.parts;
    const { clock, meta } = core.parts;
    const { ioDeadlineMs, reconnectMinMs, reconnectMaxMs } = core.opts.deadlines;
    const slices = jobs.flatMap((job) => job.toCommit());
    if (slices.length === 0) {
      this.#done(jobs);
      return;
    }
    const ends = slices.map(({ slot, slice }) => slot * this.#slotSize + (slice?.pos ?? 0) + (slice?.len ?? 0));
    const seq = jobs[0]?.seq ?? 0;
    const mtime = this.#mtime;
    const { ino } = this.host;
    const last = jobs.at(-1)?.id ?? 0;
    const request = {
      ino,
      slices,
      sizeAtLeast: Math.max(...ends),
      mtime,
      truncSeq: seq,
      append: false,
      sync: jobs.some(({ id }) => id === this.#syncJob),
      ifVersion,
    };
    const end = clock.monotonicMs() + ioDeadlineMs;
    const backoff = new Backoff(clock, reconnectMinMs, reconnectMaxMs);
    // When nothing is missing, its answer is that to the fsync.
    await core.early.settled(request.sync ? undefined : [ino]);
    if (signal.aborted) return;
    for (;;) {
      const ticket = core.answers.begin();
      // Not there any more when it was sent by itself in the meantime.
      const { told } = this.host;
      const set = told && requestFor(ino, told, { mtime: mtime === undefined });
      try {
        const reply = await meta.call("commit", { ...request, set, setAt: told?.at }, SELF);
        if (signal.aborted) return;
        this.host.committed(reply, slices, seq, ticket);
        if (this.#mtime === mtime) this.#mtime = undefined;
        if (reply.synced) this.#syncedJob = last;
        this.#done(jobs);
        return;
      } catch (error) {
        // The copies of a chunk went away since it was registered: they are being repaired.
        if (errnoOf(error) !== "EAGAIN" || clock.monotonicMs() >= end) throw error;
      } finally {
        core.answers.end(ticket);
      }
      await backoff.wait(signal);
    }
  }

  #done(jobs: readonly Job[]): void {
    for (const job of jobs) {
      this.#runs.settle(job.id);
      job.release();
    }
    this.#jobs = this.#jobs.filter((job) => !jobs.includes(job));
    this.#settle(jobs.at(-1)?.id ?? 0);
  }

  #settle(job: number): void {
    this.#settled = Math.max(this.#settled, job);
    this.#note();
    const due = this.#waiting.filter((w) => w.job <= this.#settled);
    this.#waiting = this.#waiting.filter((w) => w.job > this.#settled);
    for (const { resolve } of due) resolve();
  }

  /** Keeps the timer and the host's picture of this file up to date. */
  #note(): void {
    const { isDirty } = this;
    if (isDirty !== this.#wasDirty) {
      this.#wasDirty = isDirty;
      this.host.dirtied(isDirty);
    }
    if (!isDirty) {
      this.#cancelTimer?.();
      this.#cancelTimer = undefined;
      return;
    }
    const { clock } = this.parts.core.parts;
    this.#cancelTimer ??= clock.after(this.parts.core.opts.deadlines.dirtyMs, () => {
      this.#cancelTimer = undefined;
      this.start();
      this.#note();
    });
  }
}
