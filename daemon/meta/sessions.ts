/**
 * The live clients.
 *
 * Invariants:
 * - A session is on disk before its client is told of it.
 * - A session ends by goodbye or because its lease is over; what waits for it (recalls, files that only it had open) is
 *   let go when its end is on disk, so that a daemon that starts again does not take it back.
 */
import type { Logger } from "pino";
import { FsError } from "../../proto/errno.js";
import type { Attach } from "../../proto/gen/bigfs/v1/meta.js";
import type { SessionRow } from "../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../common/clock.js";
import type { Deadlines } from "../common/deadlines.js";
import { pages } from "./cluster/pages.js";
import type { Connection } from "./connection.js";
import type { Executor } from "./executor.js";
import { idIn } from "./keys.js";
import type { Locks } from "./locks.js";
import type { Opens } from "./opens.js";
import type { Phases } from "./phases.js";
import type { Recalls } from "./recalls.js";
import { beginSession, endSession } from "./session-rows.js";
import { Session } from "./session.js";

export interface SessionsParts {
  readonly executor: Executor;
  readonly clock: Clock;
  readonly log: Logger;
  readonly opens: Opens;
  readonly locks: Locks;
  readonly recalls: Recalls;
  readonly phases: Phases;
  /** Nobody has these open any more. */
  readonly unopened: (inos: readonly number[]) => void;
}

/** What an earlier life of the daemon has left. */
export interface KnownSessions {
  readonly rows: readonly SessionRow[];
  /** Requests with stored replies. */
  readonly replies: readonly { readonly session: number; readonly id: number }[];
}

const NAME_CHARS = 255;

/** Reads the sessions that have not ended. */
export async function knownSessions(executor: Executor): Promise<KnownSessions> {
  const rows: SessionRow[] = [];
  for await (const page of pages<"P">(executor, { from: "P", to: "Q" })) {
    for (const { row } of page) if (!row.ended) rows.push(row);
  }
  const replies: { session: number; id: number }[] = [];
  for await (const page of pages<"Q">(executor, { from: "Q", to: "R" })) {
    for (const { key } of page) replies.push({ session: idIn(key), id: idIn(key, 1) });
  }
  return { rows, replies };
}

export class Sessions {
  readonly #sessions = new Map<number, Session>();
  readonly #startedMs: number;
  #lookedMs: number;
  #expireFromMs = -Infinity;

  constructor(
    private readonly parts: SessionsParts,
    private readonly opts: { readonly deadlines: Deadlines },
    known: KnownSessions,
  ) {
    this.#startedMs = this.#lookedMs = parts.clock.monotonicMs();
    for (const row of known.rows) this.#sessions.set(row.id, new Session(parts, row, this.#startedMs));
    for (const { session, id } of known.replies) this.#sessions.get(session)?.replyStored(id);
  }

  get size(): number {
    return this.#sessions.size;
  }

  get(id: number): Session | undefined {
    return this.#sessions.get(id);
  }

  all(): Iterable<Session> {
    return this.#sessions.values();
  }

  /** The session of this stream from now on; undefined: the stream is gone meanwhile. */
  async attach(
    connection: Connection,
    attach: Attach,
  ): Promise<{ readonly session: Session; readonly resumed: boolean } | undefined> {
    const known = this.#sessions.get(attach.session);
    if (known === undefined || known.isEnded) return this.#begin(connection, attach);
    const { opens, locks, phases, unopened, clock, log } = this.parts;
    known.connection?.close(new FsError("ESTALE", "the session has a newer stream"));
    known.connection = connection;
    connection.session = known;
    known.heard(clock.monotonicMs(), 0);
    await known.quiet();
    if (!connection.isOpen) return undefined;
    if (known.isEnded) return this.#begin(connection, attach);
    unopened(opens.replace(known.id, attach.open));
    locks.declareAll(known.id, attach.locks);
    phases.returned(known.id);
    log.info({ session: known.id, name: known.name, peer: connection.address }, "session resumed");
    return { session: known, resumed: true };
  }

  /** Ends the session; resolves when that is on disk. */
  end(session: Session, why: string): Promise<void> {
    if (session.over !== undefined) return session.over;
    this.parts.log.info({ session: session.id, name: session.name, why }, "session ended");
    session.isEnded = true;
    session.over = this.#end(session);
    return session.over;
  }

  /** Ends those whose lease is over, and those that do not answer. */
  async expire(): Promise<void> {
    const { leaseMs, leaseMarginMs, renewMs, ioDeadlineMs } = this.opts.deadlines;
    const { clock, recalls, phases } = this.parts;
    const nowMs = clock.monotonicMs();
    const leaseEndMs = leaseMs + leaseMarginMs;
    // After a stall of this process, what clients have said meanwhile lies unread.
    const isStalled = nowMs - this.#lookedMs > (leaseEndMs - renewMs) / 2;
    this.#lookedMs = nowMs;
    if (isStalled) this.#expireFromMs = nowMs + 2 * renewMs;
    if (nowMs < this.#expireFromMs) return;
    const late = new Map<Session, string>();
    for (const session of this.#sessions.values()) {
      if (nowMs - session.heardMs > leaseEndMs) late.set(session, "its lease is over");
    }
    const add = (id: number, why: string) => {
      const session = this.#sessions.get(id);
      if (session !== undefined) late.set(session, why);
    };
    for (const id of recalls.overdue(leaseEndMs)) add(id, "it did not confirm a recall");
    if (nowMs - this.#startedMs > ioDeadlineMs) for (const id of phases.awaited) add(id, "its replay does not end");
    await Promise.all([...late].map(([session, why]) => this.fence(session, why)));
  }

  /** Ends it and tells its client so. */
  fence(session: Session, why: string): Promise<void> {
    const over = this.end(session, why);
    session.connection?.close(new FsError("ESTALE", why));
    return over;
  }

  async #begin(connection: Connection, attach: Attach): Promise<{ session: Session; resumed: boolean } | undefined> {
    const { executor, clock, log, opens } = this.parts;
    const made = { name: attach.name.slice(0, NAME_CHARS), readOnly: attach.readOnly, now: clock.now() };
    const { value: row, batch } = await executor.execute(0, (tx) => beginSession(tx, made));
    await executor.whenDurable(batch);
    const session = new Session(this.parts, row, clock.monotonicMs());
    this.#sessions.set(row.id, session);
    // Whoever was given up may still have files open.
    opens.replace(row.id, attach.open);
    log.info({ session: row.id, name: row.name, peer: connection.address }, "session began");
    if (!connection.isOpen) return undefined;
    session.connection = connection;
    connection.session = session;
    return { session, resumed: false };
  }

  async #end(session: Session): Promise<void> {
    const { executor, recalls, phases, opens, locks, unopened } = this.parts;
    const { batch } = await executor.execute(0, (tx) => {
      endSession(tx, session.id);
    });
    await executor.whenDurable(batch);
    this.#sessions.delete(session.id);
    recalls.end(session.id);
    const left = opens.drop(session.id);
    locks.end(session.id);
    phases.finished(session.id);
    unopened(left);
  }
}
