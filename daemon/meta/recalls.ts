import type { Recall } from "../../proto/gen/bigfs/v1/meta.js";
import type { Clock } from "../common/clock.js";
import { kindOf, type Key } from "./keys.js";
import type { Leases, PendingRecall } from "./leases.js";
import type { Change } from "./observed.js";

export interface RecallsParts {
  readonly leases: Leases;
  readonly clock: Clock;
  /** Pushes to the session if it has a stream; it is sent again when the session comes back. */
  readonly send: (session: number, recall: Recall) => void;
}

/** Sends recalls, and lets those who caused them wait until they are confirmed or their session has ended. */
export class Recalls {
  readonly #waiters = new Map<number, (() => void)[]>();
  #sent = 0;

  constructor(private readonly parts: RecallsParts) {}

  /** Recalls sent so far. */
  get sent(): number {
    return this.#sent;
  }

  /** In the turn of the change. The promise is for the answer to it; undefined: there is nobody to wait for. */
  changed(changes: readonly Change[], by: number): Promise<void> | undefined {
    if (changes.length === 0) return undefined;
    const { leases, clock } = this.parts;
    const { fresh, joined } = leases.changed(changes, by, clock.monotonicMs());
    for (const recall of fresh) this.#send(recall);
    const all = [...fresh, ...joined];
    return all.length === 0 ? undefined : this.#confirmed(all);
  }

  /** Resolves when the row is no other session's alone; undefined: it is not. */
  held(at: Key, reader: number): Promise<void> | undefined {
    if (kindOf(at) !== "I") return undefined;
    const { leases, clock } = this.parts;
    const exclusive = leases.exclusiveOf(at as Key<"I">, reader);
    const ending = exclusive && leases.endExclusive(exclusive, clock.monotonicMs());
    if (ending === undefined) return undefined;
    if (ending.isFresh) this.#send(ending.recall);
    return this.#confirmed([ending.recall]);
  }

  /** Several sessions have the file open, these among them. Resolves when they write through. */
  share(ino: number, sessions: readonly number[]): Promise<void> {
    const { leases, clock } = this.parts;
    const told = sessions.map((session) => leases.share(session, ino, clock.monotonicMs()));
    for (const recall of told) this.#send(recall);
    return this.#confirmed(told);
  }

  /** Takes from a session that has too many leases. */
  evict(session: number): void {
    const recall = this.parts.leases.evict(session, this.parts.clock.monotonicMs());
    if (recall !== undefined) this.#send(recall);
  }

  confirm(session: number, number: number): void {
    const recall = this.parts.leases.confirm(session, number);
    if (recall !== undefined) this.#tell(recall);
  }

  /** What this session has not confirmed, once more: its stream is a new one. */
  resend(session: number): void {
    for (const recall of this.parts.leases.pending) {
      if (recall.session === session) this.parts.send(session, recall.message);
    }
  }

  /** The session is over. */
  end(session: number): void {
    for (const recall of this.parts.leases.end(session)) this.#tell(recall);
  }

  /** Sessions that have not confirmed a recall for this long. */
  overdue(ms: number): Set<number> {
    const before = this.parts.clock.monotonicMs() - ms;
    const late = new Set<number>();
    for (const recall of this.parts.leases.pending) if (recall.sinceMs <= before) late.add(recall.session);
    return late;
  }

  #send(recall: PendingRecall): void {
    this.#sent++;
    this.parts.send(recall.session, recall.message);
  }

  async #confirmed(recalls: readonly PendingRecall[]): Promise<void> {
    await Promise.all(
      recalls.map(
        ({ number }) =>
          new Promise<void>((resolve) => {
            const waiters = this.#waiters.get(number);
            if (waiters === undefined) this.#waiters.set(number, [resolve]);
            else waiters.push(resolve);
          }),
      ),
    );
  }

  #tell({ number }: PendingRecall): void {
    for (const resolve of this.#waiters.get(number) ?? []) resolve();
    this.#waiters.delete(number);
  }
}
