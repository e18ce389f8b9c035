import type { Logger } from "pino";
import { FsError, errnoOf } from "../../proto/errno.js";
import type { ClientFrame, Cred, Stamp } from "../../proto/gen/bigfs/v1/meta.js";
import type { Clock } from "../common/clock.js";
import type { OperationTimes } from "../common/metrics.js";
import { Rate } from "../common/rate.js";
import type { AnswerOp, Connection } from "./connection.js";
import type { Executor } from "./executor.js";
import type { Phases } from "./phases.js";
import type { Session } from "./session.js";

export type RequestOp = NonNullable<ClientFrame["op"]>;
export type RequestCase = RequestOp["$case"];

/** A request of a session. */
export interface Call {
  readonly connection: Connection;
  readonly session: Session;
  readonly frame: ClientFrame;
  readonly op: RequestOp;
  readonly startedMs: number;
}

/** The rules have run. What the answer waits for, and the answer as it is then. */
export interface Outcome {
  readonly waits: readonly Promise<unknown>[];
  readonly answer: () => { readonly op: AnswerOp; readonly stamp?: Stamp | undefined };
}

/** Answers one family of requests; resolves when nothing that the session asks later can come before it. */
export type Handler = (call: Call) => Promise<Outcome>;

export interface RequestsParts {
  readonly executor: Executor;
  readonly phases: Phases;
  readonly clock: Clock;
  readonly log: Logger;
  readonly times: OperationTimes;
}

/** Requests of one stream that may be unanswered at a time. */
const IN_FLIGHT_MAX = 65_536;

/** Who asks: FsError EINVAL when the request does not say. */
export function credOf(call: Call): Cred {
  if (call.frame.cred === undefined) throw new FsError("EINVAL", "a request without credentials");
  return call.frame.cred;
}

/** From a request's arrival to its answer: when it runs, what its answer waits for. */
export class Requests {
  readonly rate: Rate;
  #early: Call[] = [];

  constructor(
    private readonly parts: RequestsParts,
    private readonly handlers: ReadonlyMap<RequestCase, Handler>,
  ) {
    this.rate = new Rate(parts.clock);
    void parts.phases.served.then(() => this.#serveEarly());
  }

  /** Requests that wait until operations are served. */
  get waiting(): number {
    return this.#early.length;
  }

  accept(connection: Connection, session: Session, frame: ClientFrame, op: RequestOp): void {
    if (connection.inFlight >= IN_FLIGHT_MAX) {
      connection.close(new FsError("EPROTO", `more than ${IN_FLIGHT_MAX} requests are unanswered`));
      return;
    }
    connection.begin();
    const call = { connection, session, frame, op, startedMs: this.parts.clock.monotonicMs() };
    if (frame.again && frame.replay !== undefined) session.replay.add(() => this.#run(call));
    else if (this.parts.phases.isServing) session.replay.after(() => void this.#run(call));
    // Also what was asked before and never answered: it must not come before what others were told.
    else this.#early.push(call);
  }

  #serveEarly(): void {
    for (const call of this.#early.splice(0)) call.session.replay.after(() => void this.#run(call));
  }

  async #run(call: Call): Promise<void> {
    if (!call.connection.isOpen) return;
    try {
      const handler = this.handlers.get(call.op.$case);
      if (handler === undefined) throw new FsError("ENOSYS", call.op.$case);
      void this.#answer(call, await handler(call));
    } catch (error) {
      this.#refuse(call, error);
    }
  }

  async #answer(call: Call, outcome: Outcome): Promise<void> {
    try {
      await Promise.all(outcome.waits);
      const { op, stamp } = outcome.answer();
      call.connection.answer(call.frame.id, op, stamp);
      this.#note(call, undefined);
    } catch (error) {
      this.#refuse(call, error);
    }
  }

  #refuse(call: Call, error: unknown): void {
    const errno = errnoOf(error);
    call.connection.refuse(call.frame.id, errno);
    this.#note(call, errno);
    if (error instanceof FsError || this.parts.executor.failure !== undefined) return;
    this.parts.log.error({ err: error, session: call.session.id, op: call.op.$case }, "a request could not be handled");
  }

  #note({ op, startedMs }: Call, errno: string | undefined): void {
    this.rate.note();
    this.parts.times.note(op.$case, this.parts.clock.monotonicMs() - startedMs, errno);
  }
}

/** An answer that waits for nothing and can be given again. */
export function plain(op: AnswerOp, waits: readonly Promise<unknown>[] = []): Outcome {
  return { waits, answer: () => ({ op }) };
}
