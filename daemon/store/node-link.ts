/**
 * The stream to the metadata daemon: joins, and joins again whenever it is lost.
 *
 * Invariants:
 * - What was reported and not answered is said again, in the same order, on the next stream, before anything new.
 * - Before anything else is said on a stream the join was answered, and the identity is on disk.
 * - `#state` changes in `#become` alone.
 */
import type { Logger } from "pino";
import { FsError, errnoFromWire, errnoOf, type Errno } from "../../proto/errno.js";
import type { Join, JoinOk, NodeFrame, NodeReply } from "../../proto/gen/bigfs/v1/node.js";
import type { Clock } from "../common/clock.js";
import type { Deadlines } from "../common/deadlines.js";
import { NODE } from "../common/rpc/kinds.js";
import type { Link } from "../common/rpc/link.js";
import { grpc, type Network } from "../common/rpc/network.js";
import { StartupError } from "../common/running.js";
import type { DataFolder } from "./identity.js";

type Op = NonNullable<NodeFrame["op"]>;
export type Push = NonNullable<NodeReply["op"]>;

export interface NodeLinkParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly folder: DataFolder;
  readonly network?: Network;
}

export interface NodeLinkOptions {
  /** HOST:PORT of the metadata daemon. */
  readonly meta: string;
  readonly key: Buffer;
  readonly deadlines: Deadlines;
}

export interface NodeLinkEvents {
  /** What this node says of itself when it joins. */
  introduce(): Omit<Join, "uuid" | "volume" | "node">;
  /** The stream stands; `signal` is aborted when it is lost. */
  joined(about: JoinOk, signal: AbortSignal): void;
  pushed(push: Push): void;
}

type State =
  | { readonly kind: "away" }
  | { readonly kind: "joining"; readonly link: Link<NodeFrame, NodeReply> }
  | { readonly kind: "joined"; readonly link: Link<NodeFrame, NodeReply> }
  | { readonly kind: "stopped" };

/** What somebody has to act upon. */
const REFUSALS: ReadonlySet<Errno> = new Set(["EACCES", "EPROTO", "EINVAL", "EADDRNOTAVAIL", "ENODEV", "ENXIO"]);
const HINTS: Partial<Record<Errno, string>> = {
  ENODEV: "mount the disk there; if it was replaced for good, start once with --replaced",
  EACCES: "give the cluster's own key with --key FILE",
  ENXIO: "a removed node may not come back: give another, empty folder with --data",
  EADDRNOTAVAIL:
    "say with --advertise HOST:PORT (without it: --listen) where the other machines reach it, and open the port in firewalls",
};

interface Request {
  readonly frame: NodeFrame;
  /** Said again on the next stream. */
  readonly isKept: boolean;
  readonly resolve: (reply: NodeReply) => void;
  readonly reject: (error: FsError) => void;
}

export class NodeLink {
  /** Resolves when this node cannot be part of the volume. */
  readonly refused: Promise<StartupError>;
  #refuse!: (error: StartupError) => void;
  #state: State = { kind: "away" };
  #about: JoinOk | undefined;
  #hasJoined = false;
  #id = 0;
  /** Unanswered, in order of their ids. */
  readonly #requests = new Map<number, Request>();
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #told: (() => void)[] = [];

  constructor(
    private readonly parts: NodeLinkParts,
    private readonly opts: NodeLinkOptions,
    private readonly events: NodeLinkEvents,
  ) {
    this.refused = new Promise((resolve) => {
      this.#refuse = resolve;
    });
  }

  /** What the volume said at the latest join. */
  get about(): JoinOk | undefined {
    return this.#about;
  }

  get isJoined(): boolean {
    return this.#state.kind === "joined";
  }

  /** Begins to join, and goes on trying. Resolves when the first try has succeeded or failed, or connectMs are over. */
  start(): Promise<void> {
    const told = new Promise<void>((resolve) => this.#told.push(resolve));
    this.#running = this.#run();
    const cancel = this.parts.clock.after(this.opts.deadlines.connectMs, () => this.#tell());
    return told.finally(cancel);
  }

  /**
   * Resolves when the metadata daemon has answered, however often the stream is lost meanwhile; rejects with what it
   * refuses, and when this node stops.
   */
  async report(op: Op): Promise<void> {
    await this.#request(op, true);
  }

  /** The same, but rejects when the stream is lost, or does not stand. */
  async say(op: Op): Promise<void> {
    if (this.#state.kind !== "joined") throw new FsError("EIO", "not joined to the metadata daemon");
    await this.#request(op, false);
  }

  /** Tells the metadata daemon not to wait for this node, if it can be told. */
  async stop(): Promise<void> {
    const state = this.#state;
    if (state.kind === "joined") state.link.send({ id: 0, op: { $case: "leave", value: {} } });
    this.#become({ kind: "stopped" });
    if (state.kind === "joined" || state.kind === "joining") state.link.close();
    this.#wake?.();
    this.#tell();
    for (const request of this.#requests.values()) request.reject(new FsError("EIO", "this node is stopping"));
    this.#requests.clear();
    await this.#running;
  }

  #request(op: Op, isKept: boolean): Promise<NodeReply> {
    if (this.#state.kind === "stopped") return Promise.reject(new FsError("EIO", "this node is stopping"));
    const frame = { id: ++this.#id, op };
    return new Promise((resolve, reject) => {
      this.#requests.set(frame.id, { frame, isKept, resolve, reject });
      if (this.#state.kind === "joined") this.#state.link.send(frame);
    });
  }

  async #run(): Promise<void> {
    const { reconnectMinMs, reconnectMaxMs } = this.opts.deadlines;
    let pauseMs = reconnectMinMs;
    while (this.#state.kind !== "stopped") {
      try {
        const link = await this.#dial();
        if (this.#isStopped()) return link.close();
        if (await this.#live(link)) pauseMs = reconnectMinMs;
      } catch (error) {
        if (this.#failed(error)) return undefined;
      }
      this.#tell();
      await this.#pause(pauseMs);
      pauseMs = Math.min(pauseMs * 2, reconnectMaxMs);
    }
    return undefined;
  }

  #dial(): Promise<Link<NodeFrame, NodeReply>> {
    const { meta, key, deadlines } = this.opts;
    const { volume } = this.parts.folder.identity;
    const { clock, network = grpc } = this.parts;
    const common = { key, role: "store", connectMs: deadlines.connectMs, clock };
    return network.dial(NODE, meta, volume === "" ? common : { ...common, volume });
  }

  /** The life of one stream. Resolves when it is over: whether it had joined; rejects when it was refused. */
  async #live(link: Link<NodeFrame, NodeReply>): Promise<boolean> {
    const life = new AbortController();
    this.#become({ kind: "joining", link });
    const closed = new Promise<FsError>((resolve) => {
      link.open({
        message: (reply) => this.#received(reply),
        closed: (reason) => {
          life.abort();
          if (this.#isStopped()) return resolve(reason);
          this.#become({ kind: "away" });
          this.#forgetFleeting(reason);
          return resolve(reason);
        },
      });
    });
    try {
      const reply = await this.#join(link);
      if (!life.signal.aborted && !this.#isStopped()) this.#joined(link, reply, life.signal);
    } catch (error) {
      link.close();
      await closed;
      throw error;
    }
    const reason = await closed;
    this.parts.log.warn({ reason: reason.message }, "the stream to the metadata daemon is lost");
    return true;
  }

  async #join(link: Link<NodeFrame, NodeReply>): Promise<JoinOk> {
    const { uuid, volume, node } = this.parts.folder.identity;
    const frame: NodeFrame = {
      id: ++this.#id,
      op: { $case: "join", value: { ...this.events.introduce(), uuid, volume, node } },
    };
    const answered = new Promise<NodeReply>((resolve, reject) => {
      this.#requests.set(frame.id, { frame, isKept: false, resolve, reject });
    });
    link.send(frame);
    const { op } = await answered;
    if (op?.$case !== "joined") throw new FsError("EPROTO", "the answer to a join is none");
    if (volume !== "" && op.value.volume !== volume) {
      throw new FsError("EINVAL", `this data folder belongs to volume ${volume}, that is volume ${op.value.volume}`);
    }
    await this.parts.folder.adopt(op.value.volume, op.value.node);
    return op.value;
  }

  #joined(link: Link<NodeFrame, NodeReply>, about: JoinOk, signal: AbortSignal): void {
    this.#about = about;
    this.#hasJoined = true;
    this.#become({ kind: "joined", link });
    for (const { frame } of this.#requests.values()) link.send(frame);
    this.#tell();
    this.events.joined(about, signal);
  }

  #received(reply: NodeReply): void {
    if (reply.id === 0) {
      if (reply.op !== undefined) this.events.pushed(reply.op);
      return;
    }
    const request = this.#requests.get(reply.id);
    this.#requests.delete(reply.id);
    if (reply.errno === "") request?.resolve(reply);
    else request?.reject(new FsError(errnoFromWire(reply.errno), reply.detail));
  }

  #forgetFleeting(reason: FsError): void {
    for (const [id, request] of this.#requests) {
      if (request.isKept) continue;
      this.#requests.delete(id);
      request.reject(reason);
    }
  }

  /** True when there is no point in trying again: this node was refused before it ever was part of the volume, or removed. */
  #failed(error: unknown): boolean {
    const errno = errnoOf(error);
    const message = error instanceof Error ? error.message : String(error);
    const isRefusal = REFUSALS.has(errno);
    if (this.#isStopped()) return true;
    // A node that was removed while it ran has nothing more to do.
    if (!isRefusal || (this.#hasJoined && errno !== "ENXIO")) {
      const level = isRefusal ? "error" : "info";
      this.parts.log[level]({ meta: this.opts.meta, reason: message }, "cannot join the metadata daemon, trying on");
      return false;
    }
    this.#refuse(refusal(this.opts.meta, errno, error));
    this.#tell();
    return true;
  }

  /** Ends the wait for the first try. */
  #tell(): void {
    for (const tell of this.#told.splice(0)) tell();
  }

  #pause(ms: number): Promise<void> {
    if (this.#isStopped()) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.parts.clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  #isStopped(): boolean {
    return this.#state.kind === "stopped";
  }

  #become(state: State): void {
    this.parts.log.debug({ from: this.#state.kind, to: state.kind }, "metadata link");
    this.#state = state;
  }
}

function refusal(meta: string, errno: Errno, cause: unknown): StartupError {
  const why = cause instanceof FsError && cause.detail !== "" ? cause.detail : String(cause);
  const hint =
    HINTS[errno] ??
    "name the metadata daemon of the volume of this data folder with --meta, or an empty folder with --data";
  return new StartupError(`the metadata daemon at ${meta} refuses this node: ${why}`, { hint, cause });
}
