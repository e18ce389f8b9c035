/**
 * Whoever waits until chunks are in some state. Woken by changes of their rows and, since nodes come and go, by changes
 * of nodes; ends at a deadline whatever happens.
 */
import { FsError, type Errno } from "../../../proto/errno.js";
import type { ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Cancel, Clock } from "../../common/clock.js";
import type { Executor } from "../executor.js";
import { key } from "../keys.js";
import { parts } from "./pages.js";

export type KnownChunk = Readonly<ChunkRow> | undefined;

export interface ChunkWaitsParts {
  readonly executor: Executor;
  readonly clock: Clock;
}

export interface ChunkWaitsOptions {
  readonly isMet: (row: KnownChunk) => boolean;
  /** Sees each awaited chunk that is not there yet, whenever it is looked at. */
  readonly onUnmet?: (chunk: number, row: KnownChunk) => void;
  /** Nobody waits for the chunk any more. */
  readonly onForgotten?: (chunk: number) => void;
  readonly deadlineMs: number;
  /** At the deadline. */
  readonly errno: Errno;
  readonly detail: string;
}

interface Waiter {
  readonly open: Set<number>;
  readonly resolve: () => void;
  readonly reject: (error: FsError) => void;
}

/** Rows looked at in one operation. */
const ROWS_PER_LOOK = 256;

export class ChunkWaits {
  readonly #waiters = new Map<number, Set<Waiter>>();
  #isStopped = false;

  constructor(
    private readonly parts: ChunkWaitsParts,
    private readonly opts: ChunkWaitsOptions,
  ) {}

  /** Resolves when all of them are in the state, not necessarily at one moment; rejects at the deadline. */
  async wait(chunks: readonly number[]): Promise<void> {
    if (chunks.length === 0) return;
    if (this.#isStopped) throw new FsError("EIO", "the metadata daemon stops");
    const open = new Set(chunks);
    let cancel: Cancel = () => {};
    try {
      await new Promise<void>((resolve, reject) => {
        const waiter = { open, resolve, reject };
        for (const chunk of open) this.#enlist(chunk, waiter);
        cancel = this.parts.clock.after(this.opts.deadlineMs, () => reject(this.#late(open)));
        this.#look([...open]).catch(reject);
      });
    } finally {
      cancel();
      for (const chunk of open) this.#dismiss(chunk, (waiter) => waiter.open === open);
    }
  }

  /** The chunk's row is this now. */
  changed(chunk: number, row: KnownChunk): void {
    if (!this.#waiters.has(chunk)) return;
    if (!this.opts.isMet(row)) {
      this.opts.onUnmet?.(chunk, row);
      return;
    }
    this.#dismiss(chunk, (waiter) => {
      waiter.open.delete(chunk);
      if (waiter.open.size === 0) waiter.resolve();
      return true;
    });
  }

  /** Nodes changed: looks at everything again. */
  async recheck(): Promise<void> {
    await this.#look([...this.#waiters.keys()]);
  }

  stop(): void {
    this.#isStopped = true;
    const error = new FsError("EIO", "the metadata daemon stops");
    for (const waiters of this.#waiters.values()) for (const waiter of waiters) waiter.reject(error);
  }

  async #look(chunks: readonly number[]): Promise<void> {
    for (const part of parts(chunks, ROWS_PER_LOOK)) {
      const keys = part.map((chunk) => key.chunk(chunk));
      await this.parts.executor.execute(
        0,
        (tx) => {
          const rows = keys.map((chunk) => tx.get(chunk));
          // Within the operation, so that no newer row is overtaken by this one.
          part.forEach((chunk, i) => this.changed(chunk, rows[i]));
        },
        { hint: keys },
      );
    }
  }

  #enlist(chunk: number, waiter: Waiter): void {
    const waiters = this.#waiters.get(chunk);
    if (waiters === undefined) this.#waiters.set(chunk, new Set([waiter]));
    else waiters.add(waiter);
  }

  #dismiss(chunk: number, isDone: (waiter: Waiter) => boolean): void {
    const waiters = this.#waiters.get(chunk);
    if (waiters === undefined) return;
    for (const waiter of waiters) if (isDone(waiter)) waiters.delete(waiter);
    if (waiters.size > 0) return;
    this.#waiters.delete(chunk);
    this.opts.onForgotten?.(chunk);
  }

  #late(open: ReadonlySet<number>): FsError {
    const [first] = open;
    const { errno, detail, deadlineMs } = this.opts;
    return new FsError(errno, `${detail}: ${open.size} chunks, ${String(first)} among them, after ${deadlineMs} ms`);
  }
}
