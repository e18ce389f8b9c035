import { FsError } from "../../proto/errno.js";
import type { SessionRow } from "../../proto/gen/bigfs/v1/rows.js";
import type { Connection } from "./connection.js";
import type { ExecuteOptions, Executed, Executor } from "./executor.js";
import type { Key } from "./keys.js";
import type { Recalls } from "./recalls.js";
import { Sequence } from "./sequence.js";
import type { Tx } from "./tx.js";

/** Replies that one operation removes on its way; every operation stores at most one. */
const REPLIES_DROPPED = 32;

/**
 * A live client. Outlives its streams: a broken one does not end it, its lease does.
 *
 * Invariants:
 * - Nothing runs for a session that has ended (`isEnded`), whenever it was asked for.
 * - An operation runs only for the stream that it came on, while that is the session's stream.
 */
export class Session {
  readonly id: number;
  readonly name: string;
  readonly readOnly: boolean;
  /** Operations that were answered in another life of the daemon, one after the other. */
  readonly replay = new Sequence();
  connection: Connection | undefined;
  /** When its latest message arrived. */
  heardMs: number;
  isEnded = false;
  /** Resolves when its end is recorded. */
  over: Promise<void> | undefined;
  /** Ids of requests with a stored reply, oldest first. */
  readonly #replies = new Set<number>();
  #answeredBelow = 0;
  #executing = 0;
  #quiet: (() => void)[] = [];
  /** Ends the waits for what other sessions have exclusively. */
  readonly #held = new Set<() => void>();

  constructor(
    private readonly parts: { readonly executor: Executor; readonly recalls: Recalls },
    row: SessionRow,
    heardMs: number,
  ) {
    this.id = row.id;
    this.name = row.name;
    this.readOnly = row.readOnly;
    this.heardMs = heardMs;
  }

  /** Everything below was answered, and is durable, as the client knows. */
  get answeredBelow(): number {
    return this.#answeredBelow;
  }

  heard(nowMs: number, answeredBelow: number): void {
    this.heardMs = nowMs;
    this.#answeredBelow = Math.max(this.#answeredBelow, answeredBelow);
  }

  /** Runs a rule as this session. */
  async execute<T>(rule: (tx: Tx) => T, opts: ExecuteOptions = {}): Promise<Executed<T>> {
    this.#executing++;
    try {
      const { executor, recalls } = this.parts;
      const guard = (key: Key) => this.#waitFor(recalls.held(key, this.id));
      return await executor.execute(this.id, (tx) => this.#alive(() => rule(tx)), { ...opts, guard });
    } finally {
      this.#executing--;
      if (this.#executing === 0) for (const resolve of this.#quiet.splice(0)) resolve();
    }
  }

  /**
   * Resolves when no rule of this session runs or waits for rows. What waits for another session fails: that one may
   * wait for this one in turn, and nobody hears the answer.
   */
  quiet(): Promise<void> {
    if (this.#executing === 0) return Promise.resolve();
    const quiet = new Promise<void>((resolve) => this.#quiet.push(resolve));
    for (const giveUp of [...this.#held]) giveUp();
    return quiet;
  }

  #waitFor(held: Promise<void> | undefined): Promise<void> | undefined {
    if (held === undefined) return undefined;
    return new Promise<void>((resolve, reject) => {
      const giveUp = (): void => {
        this.#held.delete(giveUp);
        reject(new FsError("ESTALE", "the stream is gone"));
      };
      if (this.#quiet.length > 0) return giveUp();
      this.#held.add(giveUp);
      void held.then(() => {
        this.#held.delete(giveUp);
        resolve();
      });
    });
  }

  replyStored(id: number): void {
    this.#replies.add(id);
  }

  /** Stored replies that the client needs no more, a few of them. */
  oldReplies(limit = REPLIES_DROPPED): number[] {
    const old: number[] = [];
    for (const id of this.#replies) {
      if (id >= this.#answeredBelow || old.length >= limit) break;
      old.push(id);
    }
    return old;
  }

  repliesDropped(ids: readonly number[]): void {
    for (const id of ids) this.#replies.delete(id);
  }

  #alive<T>(run: () => T): T {
    if (this.isEnded) throw new FsError("ESTALE", "the session has ended");
    return run();
  }
}
