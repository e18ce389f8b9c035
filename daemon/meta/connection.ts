import type { Errno, FsError } from "../../proto/errno.js";
import type { ClientFrame, ServerFrame, Stamp } from "../../proto/gen/bigfs/v1/meta.js";
import type { Cancel, Clock } from "../common/clock.js";
import type { Link } from "../common/rpc/link.js";
import type { Executor } from "./executor.js";
import type { Session } from "./session.js";

export type AnswerOp = NonNullable<ServerFrame["op"]>;

/** Answers carry the durable watermark anyway, and who is in a hurry asks: it is pushed only this often. */
const DURABLE_PUSH_MS = 20;

export interface ConnectionParts {
  readonly executor: Executor;
  readonly clock: Clock;
}

/**
 * One stream of a session, towards the client. Every frame carries the durable watermark and the echo that renews the
 * lease. Nothing leaves after a commit has failed: what clients were not told, they will ask again.
 */
export class Connection {
  /** Set when it has attached. */
  session: Session | undefined;
  #isOpen = true;
  #echoMs = 0;
  #inFlight = 0;
  /** The highest batch that an answer has named, and the watermark that was told last. */
  #owed = 0;
  #told = 0;
  #cancelPush: Cancel | undefined;

  constructor(
    private readonly parts: ConnectionParts,
    private readonly link: Link<ServerFrame, ClientFrame>,
  ) {}

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Requests that are not answered. */
  get inFlight(): number {
    return this.#inFlight;
  }

  get address(): string {
    return this.link.peer.address;
  }

  heard(frame: ClientFrame): void {
    this.#echoMs = frame.clockMs;
  }

  begin(): void {
    this.#inFlight++;
  }

  answer(id: number, op: AnswerOp | undefined, stamp?: Stamp): void {
    this.#inFlight--;
    if (stamp !== undefined && stamp.batch > this.#owed) this.#owed = stamp.batch;
    if (id !== 0) this.#send({ id, errno: "", stamp, op });
  }

  refuse(id: number, errno: Errno): void {
    this.#inFlight--;
    if (id !== 0) this.#send({ id, errno, stamp: undefined, op: undefined });
  }

  push(op: AnswerOp | undefined): void {
    this.#send({ id: 0, errno: "", stamp: undefined, op });
  }

  /** A batch has become durable: tells it if answers wait for that. */
  durable(): void {
    if (this.#owed <= this.#told || this.parts.executor.durable <= this.#told) return;
    this.#cancelPush ??= this.parts.clock.after(DURABLE_PUSH_MS, () => this.#pushLate());
  }

  /** Without a reason, what was sent before still arrives. */
  close(reason?: FsError): void {
    if (!this.#isOpen) return;
    this.closed();
    this.link.close(reason);
  }

  /** The stream has ended. */
  closed(): void {
    this.#isOpen = false;
    this.#cancelPush?.();
    if (this.session?.connection === this) this.session.connection = undefined;
  }

  #pushLate(): void {
    this.#cancelPush = undefined;
    if (this.#owed > this.#told && this.parts.executor.durable > this.#told) this.push(undefined);
  }

  #send(frame: Pick<ServerFrame, "id" | "errno" | "stamp" | "op">): void {
    const { executor } = this.parts;
    if (!this.#isOpen || executor.failure !== undefined) return;
    this.#told = executor.durable;
    const { id, errno, stamp, op } = frame;
    this.link.send({ id, errno, durable: this.#told, echoMs: this.#echoMs, stamp, op });
  }
}
