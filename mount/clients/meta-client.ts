import type { Logger } from "pino";
import type { Cancel, Clock } from "../../daemon/common/clock.js";
import type { Deadlines } from "../../daemon/common/deadlines.js";
import { SESSION } from "../../daemon/common/rpc/kinds.js";
import type { Link } from "../../daemon/common/rpc/link.js";
import { grpc, type Network } from "../../daemon/common/rpc/network.js";
import { FsError } from "../../proto/errno.js";
import type { Attached, ClientFrame, Cred, Recall, Renew, ServerFrame } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import type { NodeMap } from "../../proto/gen/bigfs/v1/node.js";
import type { CallOptions, MetaClient, MetaEvents, OpArgs, OpName, OpResult, VolumeInfo } from "../vfs/ports.js";
import { within } from "../vfs/waiting.js";
import { Closes } from "./closes.js";
import { Lease } from "./lease.js";
import { Redial } from "./redial.js";
import { ServerClock } from "./server-clock.js";
import { Requests, toldStamp, type Op, type Request } from "./requests.js";

export interface MetaClientOptions {
  /** HOST:PORT of the metadata daemon. */
  readonly address: string;
  readonly key: Buffer;
  /** For people: host and mount point. */
  readonly name: string;
  readonly readOnly: boolean;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  readonly log: Logger;
  /** Goes on with the session of a process that has died; requests count from `firstId`, beyond all that it asked. */
  readonly resume?: SessionRecord & { readonly firstId: number };
  /** Called with each session that begins. */
  readonly onSession?: (record: SessionRecord) => void;
  readonly network?: Network;
}

/** What it takes to go on with a session. */
export interface SessionRecord {
  readonly session: number;
  readonly volume: VolumeInfo;
}

type SessionLink = Link<ClientFrame, ServerFrame>;
type Frame = Pick<ClientFrame, "id" | "op"> & Partial<Pick<ClientFrame, "cred" | "replay" | "again">>;

/**
 * away: no stream. attaching: the daemon was asked for a session. resuming: what it may have forgotten is being sent
 * again; new requests wait. live: everything is sent as it comes.
 */
type State =
  | { readonly kind: "away"; readonly sinceMs: number }
  | { readonly kind: "attaching" | "resuming"; readonly link: SessionLink; readonly sinceMs: number }
  | { readonly kind: "live"; readonly link: SessionLink }
  | { readonly kind: "stopped" };

/** So often in an ioDeadline it is looked whose time is over. */
const LOOKS = 20;
/** A request that the daemon has, and does not answer for so many ioDeadlines, fails; its own waits are at most one. */
const PATIENCE = 2;

/**
 * A session with the metadata daemon. Rejects with what dial() rejects with when the daemon is not there at the first
 * try; from then on it is waited for, and so it is by who goes on with a session.
 */
export async function connectMeta(opts: MetaClientOptions): Promise<MetaClient> {
  const client = new SessionClient(opts);
  await client.start();
  return client;
}

class SessionClient implements MetaClient {
  readonly #requests: Requests;
  readonly #lease: Lease;
  readonly #time: ServerClock;
  #state: State;
  #session: number;
  #volume: VolumeInfo | undefined;
  #map: NodeMap = { version: 0, nodes: [] };
  #events: MetaEvents | undefined;
  #cancelRenew: Cancel = () => {};
  #cancelLook: Cancel = () => {};
  readonly #redial: Redial;
  readonly #closes: Closes;
  /** Id of the question after durability that is under way; 0: none. */
  #durableQuestion = 0;
  #stopping: Promise<void> | undefined;
  #started: { readonly resolve: () => void; readonly reject: (error: FsError) => void } | undefined;

  constructor(private readonly opts: MetaClientOptions) {
    const { clock, resume } = opts;
    this.#requests = new Requests(resume?.firstId);
    this.#session = resume?.session ?? 0;
    this.#volume = resume?.volume;
    this.#lease = new Lease(clock);
    this.#time = new ServerClock(clock);
    this.#closes = new Closes(clock, () => {
      if ("link" in this.#state) this.#tellCloses(this.#state.link);
    });
    this.#state = { kind: "away", sinceMs: clock.monotonicMs() };
    this.#redial = new Redial(opts, opts.address);
  }

  async start(): Promise<void> {
    const { clock, deadlines } = this.opts;
    if (this.#session === 0) await this.#startFirst();
    else this.#reconnect();
    this.#renewLater();
    const look = () => {
      this.#expire();
      this.#cancelLook = clock.after(deadlines.ioDeadlineMs / LOOKS, look);
    };
    look();
  }

  async #startFirst(): Promise<void> {
    const link = await this.#dial();
    try {
      await new Promise<void>((resolve, reject) => {
        this.#started = { resolve, reject };
        this.#attach(link);
      });
    } catch (error) {
      this.#state = { kind: "stopped" };
      link.close();
      throw error;
    } finally {
      this.#started = undefined;
    }
  }

  get volume(): VolumeInfo {
    if (this.#volume === undefined) throw new Error("no session yet");
    return this.#volume;
  }

  get map(): NodeMap {
    return this.#map;
  }

  leaseLeftMs(): number {
    return this.#lease.leftMs();
  }

  now(): Time {
    return this.#time.now();
  }

  listen(events: MetaEvents): void {
    this.#events = events;
  }

  get isReady(): boolean {
    return this.#state.kind === "live" && this.#requests.waiting === 0 && !this.#requests.isFull;
  }

  async call<C extends OpName>(
    op: C,
    args: OpArgs<C>,
    who: Cred,
    { told, take }: CallOptions<C> = {},
  ): Promise<OpResult<C>> {
    if (this.#state.kind === "stopped") throw new FsError("EIO", "this mount is stopping");
    const answer = this.#requests.add({ $case: op, value: args } as Op, who, this.opts.clock.monotonicMs(), {
      told,
      take: take && ((taken) => take(taken.value as OpResult<C>)),
    });
    this.#sendWaiting();
    const { value } = await answer;
    if (op === "alloc") this.#learn((value as OpResult<"alloc">).map);
    return value as OpResult<C>;
  }

  tell<C extends "close" | "forget" | "locks">(op: C, args: OpArgs<C>): void {
    const { kind } = this.#state;
    // Attaching included: what is open was declared with it, and this comes behind that.
    if (kind === "away" || kind === "stopped") return;
    if (op !== "close") {
      this.#send(this.#state.link, { id: 0, op: { $case: op, value: args } as Op });
      return;
    }
    this.#closes.add(args as OpArgs<"close">);
  }

  durable(): Promise<void> {
    const done = this.#requests.whenDurable(this.opts.clock.monotonicMs());
    if (this.#requests.hasDurableWaiters && this.#state.kind === "live") this.#askDurable(this.#state.link);
    return done;
  }

  stop(): Promise<void> {
    return (this.#stopping ??= this.#stop());
  }

  async #stop(): Promise<void> {
    if (this.#state.kind === "stopped") return;
    const { clock, deadlines, log } = this.opts;
    await within(clock, deadlines.ioDeadlineMs, this.durable()).catch((error: unknown) =>
      log.error({ err: error }, "stopped before everything was on the metadata daemon's disk"),
    );
    const state = this.#state;
    const ended = new FsError("EIO", "this mount was stopped");
    if (state.kind === "live") {
      const goodbye = this.#requests.add({ $case: "goodbye", value: {} }, undefined, clock.monotonicMs());
      this.#sendWaiting();
      await within(clock, deadlines.connectMs, goodbye).catch(() => {});
    }
    this.#set({ kind: "stopped" });
    this.#redial.stop();
    this.#cancelRenew();
    this.#cancelLook();
    this.#requests.end(ended);
    if ("link" in state) state.link.close();
  }

  // Streams

  #dial(): Promise<SessionLink> {
    const { address, key, clock, deadlines, network = grpc } = this.opts;
    const common = { key, role: "mount", connectMs: deadlines.connectMs, clock };
    return network.dial(
      SESSION,
      address,
      this.#volume === undefined ? common : { ...common, volume: this.#volume.volume },
    );
  }

  #reconnect(): void {
    this.#dial().then(
      (link) => {
        if (this.#state.kind === "away") this.#attach(link);
        else link.close();
      },
      (error: unknown) => this.#retryLater(error instanceof FsError ? error : new FsError("EIO", String(error))),
    );
  }

  #retryLater(reason: FsError): void {
    if (this.#state.kind === "away") this.#redial.later(reason, () => this.#reconnect());
  }

  #attach(link: SessionLink): void {
    const { clock, deadlines, name, readOnly } = this.opts;
    this.#set({ kind: "attaching", link, sinceMs: this.#awaySince() });
    this.#durableQuestion = 0;
    const late = new FsError("ETIMEDOUT", `${link.peer.address} gives no session`);
    const cancelTimer = clock.after(deadlines.ioDeadlineMs, () => {
      if (this.#state.kind === "attaching" && this.#state.link === link) link.close(late);
    });
    link.open({
      message: (frame) => {
        if (frame.op?.$case === "attach") cancelTimer();
        this.#received(link, frame);
      },
      closed: (reason) => {
        cancelTimer();
        this.#lost(link, reason);
      },
    });
    const { clockMs } = link.peer;
    if (clockMs !== undefined) this.#time.greeted(clockMs);
    this.#closes.clear();
    const open = this.#events?.openFiles() ?? [];
    const locks = this.#events?.heldLocks() ?? [];
    const value = { session: this.#session, name, readOnly, open, locks, replayDone: this.#session === 0 };
    this.#send(link, { id: this.#requests.nextId(), op: { $case: "attach", value } });
  }

  #lost(link: SessionLink, reason: FsError): void {
    const state = this.#state;
    if (!("link" in state) || state.link !== link) return;
    if (this.#started !== undefined) {
      this.#started.reject(reason);
      return;
    }
    if (state.kind === "live") this.opts.log.warn({ err: reason }, "the metadata daemon is away");
    this.#set({ kind: "away", sinceMs: this.#awaySince() });
    this.#retryLater(reason);
  }

  /** When the present absence began. */
  #awaySince(): number {
    return "sinceMs" in this.#state ? this.#state.sinceMs : this.opts.clock.monotonicMs();
  }

  // Frames

  /** Behind the closes that wait. */
  #send(link: SessionLink, frame: Frame): void {
    this.#tellCloses(link);
    this.#put(link, frame);
  }

  #tellCloses(link: SessionLink): void {
    for (const value of this.#closes.take()) this.#put(link, { id: 0, op: { $case: "close", value } });
  }

  #put(link: SessionLink, frame: Frame): void {
    const { id, op, cred, replay, again = false } = frame;
    // Ids of the session that was; the one that is given may be another, which counts from 1.
    const oldestOpen = this.#state.kind === "attaching" ? 0 : this.#requests.oldestOpen;
    link.send({ id, oldestOpen, clockMs: this.#lease.stamp(), cred, replay, again, op });
  }

  #sendWaiting(): void {
    if (this.#state.kind !== "live") return;
    const { link } = this.#state;
    for (const request of this.#requests.take()) {
      const { id, op, cred } = request;
      this.#send(link, { id, op, cred, replay: toldStamp(request) });
    }
    // Nobody else may be in a hurry to have on disk what new requests wait for.
    if (this.#requests.waiting > 0) this.#askDurable(link);
  }

  #received(link: SessionLink, frame: ServerFrame): void {
    if (!("link" in this.#state) || this.#state.link !== link) return;
    if (this.#state.kind === "attaching") {
      this.#attachAnswered(link, frame);
      return;
    }
    this.#lease.echoed(frame.echoMs);
    this.#requests.durableUpTo(frame.durable);
    if (frame.id === 0) this.#pushed(link, frame);
    else if (frame.id === this.#durableQuestion) this.#durableAnswered(link);
    else if (this.#requests.answered(frame) === "contradicted") {
      this.opts.log.error(
        { id: frame.id, errno: frame.errno },
        "the restarted metadata daemon refused what it had done before",
      );
      this.#events?.lost();
    }
    if (this.#requests.waiting > 0) this.#sendWaiting();
  }

  #pushed(link: SessionLink, { op }: ServerFrame): void {
    if (op?.$case === "map") this.#learn(op.value);
    else if (op?.$case === "recall") this.#recall(link, op.value);
    else if (op?.$case === "locksWanted") this.#events?.locksWanted(op.value.ino);
    else if (op?.$case === "locksFreed") this.#events?.locksFreed(op.value.ino);
    else if (op?.$case === "unshared") this.#events?.unshared(op.value.inos);
    else if (op?.$case === "crowded") this.#events?.crowded(op.value.ino, op.value.slot);
    else if (op?.$case === "copies") this.#volume = { ...this.volume, ...op.value };
  }

  #recall(link: SessionLink, recall: Recall): void {
    const done = this.#events?.recall(recall) ?? Promise.resolve([]);
    done.then(
      // Numbers belong to one stream: on another one it would confirm something else.
      (open) => {
        if (!("link" in this.#state) || this.#state.link !== link) return;
        this.#send(link, { id: 0, op: { $case: "recalled", value: { number: recall.number, open } } });
      },
      (error: unknown) => this.opts.log.error({ err: error }, "a recall failed; the daemon will give this session up"),
    );
  }

  #learn(map: NodeMap | undefined): void {
    if (map !== undefined && map.version >= this.#map.version) this.#map = map;
  }

  #attachAnswered(link: SessionLink, frame: ServerFrame): void {
    const { log } = this.opts;
    if (frame.op?.$case !== "attach") {
      if (frame.errno !== "") link.close(new FsError("EIO", `no session: ${frame.errno}`));
      return;
    }
    const attached = frame.op.value;
    const before = this.#session;
    const awayMs = Math.round(this.opts.clock.monotonicMs() - this.#awaySince());
    this.#begin(attached, frame);
    if (before === attached.session) {
      log.info({ session: before, awayMs }, "the metadata daemon is back");
      void this.#resume(link, frame.durable);
      return;
    }
    const isLost = this.#requests.fence(frame.durable);
    this.#live(link);
    if (before === 0) {
      this.#started?.resolve();
      return;
    }
    log.warn({ session: before, newSession: attached.session, awayMs }, "this session was given up; a new one began");
    this.#events?.fenced(isLost);
  }

  #begin(attached: Attached, frame: ServerFrame): void {
    const { session, volume, chunkSize, replicas, minReplicas, leaseMs, map } = attached;
    const isSame = this.#session === session;
    this.#session = session;
    this.#volume = { volume, chunkSize, replicas, minReplicas };
    if (!isSame) this.opts.onSession?.({ session, volume: this.#volume });
    this.#lease.begin(leaseMs === 0 ? this.opts.deadlines.leaseMs : leaseMs, isSame);
    this.#lease.echoed(frame.echoMs);
    this.#learn(map);
    this.#redial.succeeded();
  }

  /**
   * A daemon that was restarted does not know what is cached here, so nothing may be cached any more before it serves
   * others; it waits for replay_done with that.
   */
  async #resume(link: SessionLink, durable: number): Promise<void> {
    this.#set({ kind: "resuming", link, sinceMs: this.#awaySince() });
    const uncached = this.#events?.uncached();
    for (const { request, replay } of this.#requests.resume(durable)) this.#sendAgain(link, request, replay);
    try {
      await uncached;
    } catch (error) {
      this.opts.log.error({ err: error }, "caches could not be dropped");
      link.close(new FsError("EIO", "caches could not be dropped"));
      return;
    }
    if (this.#state.kind !== "resuming" || this.#state.link !== link) return;
    this.#renew(link, { replayDone: true });
    if (this.#requests.hasDurableWaiters) this.#askDurable(link);
    this.#live(link);
  }

  #sendAgain(link: SessionLink, { id, op, cred }: Request, replay: ClientFrame["replay"]): void {
    this.#send(link, { id, op, cred, replay, again: true });
  }

  #live(link: SessionLink): void {
    this.#set({ kind: "live", link });
    this.#sendWaiting();
  }

  #set(state: State): void {
    if (this.#state.kind === "stopped") return;
    if (state.kind !== this.#state.kind) this.opts.log.debug({ from: this.#state.kind, to: state.kind }, "session");
    this.#state = state;
  }

  // Time

  #renew(link: SessionLink, value: Renew): void {
    this.#send(link, { id: this.#requests.nextId(), op: { $case: "renew", value } });
  }

  /** The daemon lets changes gather as long as nobody says that he waits. One question at a time. */
  #askDurable(link: SessionLink): void {
    if (this.#durableQuestion !== 0) return;
    const id = this.#requests.nextId();
    this.#durableQuestion = id;
    this.#send(link, { id, op: { $case: "renew", value: { replayDone: false, durable: true } } });
  }

  /** What was done after the question is not covered by its answer. */
  #durableAnswered(link: SessionLink): void {
    this.#durableQuestion = 0;
    if (this.#requests.hasDurableWaiters || this.#requests.isFull) this.#askDurable(link);
  }

  #renewLater(): void {
    this.#cancelRenew = this.opts.clock.after(this.opts.deadlines.renewMs, () => {
      if (this.#state.kind === "live" || this.#state.kind === "resuming")
        this.#renew(this.#state.link, { replayDone: false });
      this.#renewLater();
    });
  }

  /** Fails what has waited too long: for a daemon that is away since then, or for an answer that never comes. */
  #expire(): void {
    const { clock, deadlines, address } = this.opts;
    const { ioDeadlineMs } = deadlines;
    const nowMs = clock.monotonicMs();
    if ("sinceMs" in this.#state && nowMs - this.#state.sinceMs >= ioDeadlineMs) {
      this.#requests.expire(nowMs - ioDeadlineMs, new FsError("EIO", `the metadata daemon ${address} is away`));
      return;
    }
    this.#requests.expire(nowMs - PATIENCE * ioDeadlineMs, new FsError("EIO", "the metadata daemon does not answer"));
  }
}
