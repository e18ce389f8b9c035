/** Streams of clients: each attaches to a session, then says what it wants. */
import type { Logger } from "pino";
import { FsError, errnoOf } from "../../proto/errno.js";
import type { Attach, ClientFrame, Close, Recalled, Renew, ServerFrame } from "../../proto/gen/bigfs/v1/meta.js";
import type { NodeMap } from "../../proto/gen/bigfs/v1/node.js";
import type { VolumeRow } from "../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../common/clock.js";
import type { Link } from "../common/rpc/link.js";
import type { Cluster } from "./cluster/cluster.js";
import { Connection, type AnswerOp } from "./connection.js";
import type { Executor } from "./executor.js";
import { key } from "./keys.js";
import type { Leases } from "./leases.js";
import type { Locks } from "./locks.js";
import type { Opens } from "./opens.js";
import type { Phases } from "./phases.js";
import type { Reaper } from "./reaper.js";
import type { Recalls } from "./recalls.js";
import type { Requests } from "./requests.js";
import type { Copies } from "./rules/replicas.js";
import type { Session } from "./session.js";
import type { Sessions } from "./sessions.js";
import type { Sharing } from "./sharing.js";

export interface ServiceParts {
  readonly executor: Executor;
  readonly clock: Clock;
  readonly log: Logger;
  readonly cluster: Pick<Cluster, "map">;
  readonly leases: Leases;
  readonly opens: Opens;
  readonly locks: Locks;
  readonly phases: Phases;
  readonly reaper: Reaper;
  readonly recalls: Recalls;
  readonly requests: Requests;
  readonly sessions: Sessions;
  readonly sharing: Sharing;
  readonly volume: Readonly<VolumeRow>;
}

/** Frames that a client may send before it is told of its session. */
const EARLY_MAX = 10_000;
/** Stored replies that one renewal removes. */
const REPLIES_PER_RENEWAL = 1024;

export class Service {
  constructor(
    private readonly parts: ServiceParts,
    private readonly opts: { readonly leaseMs: number },
  ) {
    parts.executor.onDurable(() => {
      for (const session of parts.sessions.all()) session.connection?.durable();
    });
    void parts.phases.served.then(() => {
      for (const { id } of parts.sessions.all()) parts.sharing.declared(id);
      this.#pushAll({ $case: "served", value: {} });
    });
  }

  accept(link: Link<ServerFrame, ClientFrame>): void {
    const connection = new Connection(this.parts, link);
    let early: ClientFrame[] | undefined;
    link.open({
      message: (frame) => {
        if (!connection.isOpen) return;
        connection.heard(frame);
        if (connection.session !== undefined && early === undefined) return this.#receive(connection, frame);
        if (early !== undefined) {
          early.push(frame);
          if (early.length > EARLY_MAX) connection.close(new FsError("EPROTO", "too much before attaching"));
          return;
        }
        if (frame.op?.$case !== "attach") return connection.close(new FsError("EPROTO", "attach first"));
        early = [];
        void this.#attach(connection, frame, frame.op.value).then(() => {
          const waiting = early ?? [];
          early = undefined;
          for (const next of waiting) if (connection.isOpen) this.#receive(connection, next);
        });
      },
      closed: () => connection.closed(),
    });
  }

  /** To be called with each new map. */
  mapChanged(map: NodeMap): void {
    this.#pushAll({ $case: "map", value: map });
  }

  /** To be called when there shall be another number of copies. */
  copiesChanged(copies: Copies): void {
    this.#pushAll({ $case: "copies", value: copies });
  }

  async #attach(connection: Connection, frame: ClientFrame, attach: Attach): Promise<void> {
    const { sessions, recalls, sharing, phases, log } = this.parts;
    connection.begin();
    try {
      const attached = await sessions.attach(connection, attach);
      if (attached === undefined) return;
      const { session, resumed } = attached;
      connection.answer(frame.id, this.#attached(session, resumed));
      if (resumed) recalls.resend(session.id);
      sharing.declared(session.id);
      if (phases.isServing) connection.push({ $case: "served", value: {} });
      if (attach.replayDone) this.#replayed(session);
    } catch (error) {
      log.warn({ err: error, peer: connection.address }, "a client could not attach");
      connection.close(error instanceof FsError ? error : new FsError(errnoOf(error), "attach failed"));
    }
  }

  #attached(session: Session, resumed: boolean): AnswerOp {
    const { volume, cluster } = this.parts;
    const { uuid, chunkSize, replicas, minReplicas } = volume;
    const shape = { volume: uuid, chunkSize, replicas, minReplicas, leaseMs: this.opts.leaseMs };
    return { $case: "attach", value: { session: session.id, ...shape, map: cluster.map(), resumed } };
  }

  #receive(connection: Connection, frame: ClientFrame): void {
    const { session } = connection;
    if (session === undefined || session.isEnded) return;
    const { clock, requests, locks } = this.parts;
    session.heard(clock.monotonicMs(), frame.oldestOpen);
    const { op } = frame;
    if (op === undefined) {
      connection.begin();
      return connection.refuse(frame.id, "ENOSYS");
    }
    switch (op.$case) {
      case "attach":
        return connection.close(new FsError("EPROTO", "attached already"));
      case "recalled":
        return this.#recalled(session, op.value);
      case "forget":
        return this.#forget(session, op.value.inos);
      case "renew":
        return this.#renew(connection, session, frame, op.value);
      case "goodbye":
        void this.#goodbye(connection, session, frame.id);
        return;
      case "locks":
        return locks.declare(session.id, op.value);
      case "close":
        this.#close(session, op.value);
        connection.begin();
        return connection.answer(frame.id, { $case: "close", value: {} });
      default:
        return requests.accept(connection, session, frame, op);
    }
  }

  #close(session: Session, { ino, count, writers }: Close): void {
    const { opens, locks, reaper, log } = this.parts;
    const isLast = opens.close(session.id, ino, { count: Math.max(1, count), writers });
    if (!opens.isOpenBy(session.id, ino)) locks.close(session.id, ino);
    if (isLast) reaper.unopened([ino]).catch((error: unknown) => log.warn({ err: error }, "reaping failed"));
  }

  #recalled(session: Session, { number, open }: Recalled): void {
    this.parts.opens.atLeast(session.id, open);
    this.parts.recalls.confirm(session.id, number);
  }

  #forget(session: Session, inos: readonly number[]): void {
    for (const ino of inos) this.parts.leases.forget(session.id, key.inode(ino), session.answeredBelow);
  }

  #renew(connection: Connection, session: Session, frame: ClientFrame, { replayDone, durable }: Renew): void {
    if (replayDone) {
      session.replay.after(() => {
        // What a stream that has ended left undone is sent again on the next one.
        if (connection.isOpen) this.#replayed(session);
      });
    }
    connection.begin();
    const answer = () => {
      connection.answer(frame.id, { $case: "renew", value: {} });
      if (frame.id === 0) connection.push(undefined);
    };
    // After a commit has failed nothing is answered.
    if (durable === true) this.parts.executor.drained().then(answer, () => {});
    else answer();
    this.#dropReplies(session).catch((error: unknown) =>
      this.parts.log.warn({ err: error }, "replies were not dropped"),
    );
  }

  #replayed(session: Session): void {
    this.parts.phases.finished(session.id);
  }

  /** What a client that has gone quiet needs no more. */
  async #dropReplies(session: Session): Promise<void> {
    const old = session.oldReplies(REPLIES_PER_RENEWAL);
    if (old.length === 0 || session.isEnded) return;
    await session.execute((tx) => {
      for (const id of old) tx.del(key.reply(session.id, id));
      session.repliesDropped(old);
    });
  }

  async #goodbye(connection: Connection, session: Session, id: number): Promise<void> {
    connection.begin();
    try {
      await session.quiet();
      await this.parts.sessions.end(session, "goodbye");
      connection.answer(id, { $case: "goodbye", value: {} });
      connection.close();
    } catch (error) {
      connection.refuse(id, errnoOf(error));
    }
  }

  #pushAll(op: AnswerOp): void {
    for (const session of this.parts.sessions.all()) session.connection?.push(op);
  }
}
