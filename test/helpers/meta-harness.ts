import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import type { Test } from "tap";
import { systemClock, type Clock } from "../../daemon/common/clock.js";
import { DEADLINES, type Deadlines } from "../../daemon/common/deadlines.js";
import { dial } from "../../daemon/common/rpc/client.js";
import { ADMIN, SESSION, NODE } from "../../daemon/common/rpc/kinds.js";
import type { Link, StreamKind } from "../../daemon/common/rpc/link.js";
import type { Running } from "../../daemon/common/running.js";
import { startMeta } from "../../daemon/meta/daemon.js";
import { MemoryStore, type StoreCall } from "../../daemon/meta/memory-store.js";
import type { FsError } from "../../proto/errno.js";
import {
  ClientFrame,
  type AdminReply,
  type AdminRequest,
  type Attached,
  type Cred,
  type ServerFrame,
  type Stamp,
  type StatusReply,
} from "../../proto/gen/bigfs/v1/meta.js";

export const KEY = Buffer.alloc(32, 7);
export const ROOT: Cred = { uid: 0, gid: 0, groups: [], checked: true };

type Op = NonNullable<ClientFrame["op"]>;
type Answer = NonNullable<ServerFrame["op"]>;
type Args<C extends Op["$case"]> = Extract<Op, { $case: C }>["value"];
type Result<C extends Answer["$case"]> = Extract<Answer, { $case: C }>["value"];

export interface HarnessOptions {
  readonly clock?: Clock;
  readonly deadlines?: Partial<Deadlines>;
  /** SQLite in the data folder instead of memory. */
  readonly sqlite?: boolean;
  readonly http?: string;
  readonly replicas?: number;
}

/** Calls of a store stand still while "before commit" (or the like) is closed. */
export class Gates {
  readonly #closed = new Set<string>();
  #waiting: (() => void)[] = [];
  /** Thrown by the next commit. */
  failCommit: Error | undefined;

  readonly gate = async (call: StoreCall, when: "before" | "after"): Promise<void> => {
    while (this.#closed.has(`${when} ${call}`)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (call === "commit" && when === "before" && this.failCommit !== undefined) throw this.failCommit;
  };

  close(name: `${"before" | "after"} ${StoreCall}`): void {
    this.#closed.add(name);
  }

  open(): void {
    this.#closed.clear();
    for (const go of this.#waiting.splice(0)) go();
  }
}

/** A real metadata daemon in this process, which can be killed and started again. */
export class MetaHarness {
  readonly gates = new Gates();
  readonly logs: string[] = [];
  readonly clients: RawClient[] = [];
  running!: Running;
  address = "127.0.0.1:0";
  #store = new MemoryStore({ gate: this.gates.gate });

  private constructor(
    readonly data: string,
    readonly opts: HarnessOptions,
  ) {}

  static async start(t: Test, opts: HarnessOptions = {}): Promise<MetaHarness> {
    const harness = new MetaHarness(await mkdtemp(join(tmpdir(), "bigfs-meta-")), opts);
    t.teardown(() => harness.#end());
    await harness.start();
    return harness;
  }

  get clock(): Clock {
    return this.opts.clock ?? systemClock;
  }

  get deadlines(): Deadlines {
    return { ...DEADLINES, ...this.opts.deadlines };
  }

  async start(): Promise<void> {
    const { sqlite = false, http, replicas = 2 } = this.opts;
    this.running = await startMeta({
      data: this.data,
      listen: this.address,
      key: KEY,
      create: { chunkSize: 65536, replicas, minReplicas: replicas },
      deadlines: this.deadlines,
      log: pino({ level: "info" }, { write: (line: string) => void this.logs.push(line) }),
      clock: this.clock,
      ...(sqlite ? {} : { store: this.#store }),
      ...(http === undefined ? {} : { http }),
    });
    this.address = this.running.listen;
  }

  /** The machine dies: what was not committed is gone. Resolves when nothing of the daemon is left. */
  async kill(): Promise<void> {
    this.#store = this.#store.crash();
    this.gates.open();
    // The daemon notices at its next commit; here it is cut off at once.
    await this.running.stop();
  }

  async stop(): Promise<void> {
    await this.running.stop();
    this.#store = this.#store.crash();
  }

  /** Keys of the stored rows of these kinds. */
  async keysOf(kinds: string): Promise<string[]> {
    const rows = await this.#store.scan({ from: "", to: "~", limit: Infinity });
    return rows.map((row) => row.key).filter((key) => kinds.includes(key.charAt(0)));
  }

  dial<Req, Rep>(kind: StreamKind<Req, Rep>, role: string): Promise<Link<Req, Rep>> {
    return dial(kind, this.address, { key: KEY, role, connectMs: 5_000, clock: systemClock });
  }

  node() {
    return this.dial(NODE, "store");
  }

  /** A stream; attached to a new session unless told otherwise. */
  async client(attach: Partial<Args<"attach">> | false = {}): Promise<RawClient> {
    const client = new RawClient(await this.dial(SESSION, "mount"));
    this.clients.push(client);
    if (attach !== false) await client.attach(attach);
    return client;
  }

  async status(): Promise<StatusReply> {
    const reply = await this.admin({ $case: "status", value: {} });
    if (reply.op?.$case !== "status") throw new Error(reply.errno);
    return reply.op.value;
  }

  async admin(op: NonNullable<AdminRequest["op"]>): Promise<AdminReply> {
    const link: Link<AdminRequest, AdminReply> = await this.dial(ADMIN, "admin");
    try {
      return await new Promise<AdminReply>((resolve, reject) => {
        link.open({ message: resolve, closed: reject });
        link.send({ id: 1, op });
      });
    } finally {
      link.close();
    }
  }

  async #end(): Promise<void> {
    this.gates.open();
    for (const client of this.clients) client.close();
    await this.running.stop();
    await rm(this.data, { recursive: true, force: true });
  }
}

/** A client that says exactly what a test wants, and remembers everything that it was told. */
export class RawClient {
  readonly frames: ServerFrame[] = [];
  session = 0;
  attached: Attached | undefined;
  closedBy: FsError | undefined;
  nextId = 1;
  oldestOpen = 0;
  durable = 0;
  /** Confirms recalls at once. */
  confirms = true;
  #watchers: (() => void)[] = [];

  constructor(readonly link: Link<ClientFrame, ServerFrame>) {
    link.open({
      message: (frame) => this.#received(frame),
      closed: (reason) => {
        this.closedBy = reason;
        this.#wake();
      },
    });
  }

  async attach(attach: Partial<Args<"attach">> = {}): Promise<Attached> {
    const value = { session: 0, name: "test", readOnly: false, open: [], locks: [], replayDone: false, ...attach };
    const frame = await this.answer(this.send({ $case: "attach", value }));
    if (frame.op?.$case !== "attach") throw new Error(`attach: ${frame.errno}`);
    this.attached = frame.op.value;
    this.session = frame.op.value.session;
    return frame.op.value;
  }

  /** Returns the id. */
  send(op: Op | undefined, more: Partial<ClientFrame> = {}): number {
    const id = more.id ?? this.nextId++;
    const { oldestOpen } = this;
    this.link.send(ClientFrame.fromPartial({ cred: ROOT, clockMs: 1, oldestOpen, ...more, id, op }));
    return id;
  }

  async answer(id: number): Promise<ServerFrame> {
    return this.until(() => this.frames.find((frame) => frame.id === id && id !== 0));
  }

  /** The frame that answers; a refusal is an answer. */
  async ask<C extends Op["$case"]>(op: C, value: Args<C>, more: Partial<ClientFrame> = {}): Promise<ServerFrame> {
    return this.answer(this.send({ $case: op, value } as Op, more));
  }

  /** The result; throws the errno. */
  async call<C extends Op["$case"] & Answer["$case"]>(op: C, value: Args<C>): Promise<Result<C>> {
    return resultOf(op, await this.ask(op, value));
  }

  make(dir: number, name: string, more: Partial<Args<"make">> = {}): Op {
    const rest = {
      rdev: 0,
      target: Buffer.alloc(0),
      open: false,
      exclusive: true,
      truncate: false,
      umask: 0,
      access: 0,
    };
    return { $case: "make", value: { dir, name: Buffer.from(name), mode: 0o100644, ...rest, ...more } };
  }

  async create(dir: number, name: string, more: Partial<Args<"make">> = {}): Promise<number> {
    const { attr } = resultOf("make", await this.answer(this.send(this.make(dir, name, more))));
    return attr?.ino ?? 0;
  }

  lookup(dir: number, name: string): Promise<Result<"lookup">> {
    return this.call("lookup", { dir, name: Buffer.from(name) });
  }

  unlink(dir: number, name: string): Promise<ServerFrame> {
    return this.ask("unlink", { dir, name: Buffer.from(name) });
  }

  async names(dir: number): Promise<string[]> {
    const { entries } = await this.call("readdir", { dir, after: 0, limit: 0, withAttrs: false });
    return entries.map((entry) => entry.name.toString("latin1")).sort();
  }

  get recalls(): Result<"recall">[] {
    return this.frames.flatMap((frame) => (frame.op?.$case === "recall" ? [frame.op.value] : []));
  }

  confirm(number: number): void {
    this.send({ $case: "recalled", value: { number, open: [] } }, { id: 0 });
  }

  /** Waits until `look` finds something; rejects when the stream ends before. */
  async until<T>(look: () => T | undefined | false): Promise<T> {
    for (;;) {
      const found = look();
      if (found !== undefined && found !== false) return found;
      if (this.closedBy !== undefined) throw this.closedBy;
      await new Promise<void>((resolve) => this.#watchers.push(resolve));
    }
  }

  async untilClosed(): Promise<FsError> {
    while (this.closedBy === undefined) await new Promise<void>((resolve) => this.#watchers.push(resolve));
    return this.closedBy;
  }

  /** Everything that was answered so far is on disk. */
  async untilDurable(): Promise<void> {
    const batch = Math.max(0, ...this.frames.map((frame) => frame.stamp?.batch ?? 0));
    await this.ask("renew", { replayDone: false, durable: true });
    await this.until(() => this.durable >= batch);
  }

  close(): void {
    this.link.close();
  }

  #received(frame: ServerFrame): void {
    this.frames.push(frame);
    this.durable = Math.max(this.durable, frame.durable);
    if (frame.op?.$case === "recall" && this.confirms) this.confirm(frame.op.value.number);
    this.#wake();
  }

  #wake(): void {
    for (const watcher of this.#watchers.splice(0)) watcher();
  }
}

export function resultOf<C extends Answer["$case"]>(op: C, frame: ServerFrame): Result<C> {
  if (frame.errno !== "") throw new Error(frame.errno);
  if (frame.op?.$case !== op) throw new Error(`${frame.op?.$case ?? "nothing"} answers ${op}`);
  return frame.op.value as Result<C>;
}

/** What a client sends with an operation that was answered before. */
export function again(frame: ServerFrame): { id: number; again: true; replay: Stamp } {
  if (frame.stamp === undefined) throw new Error("that answer has no stamp");
  return { id: frame.id, again: true, replay: frame.stamp };
}

/** "waiting" while it has not settled after everything that was ready has run, streams included. */
export async function stateOf(promise: Promise<unknown>, rounds = 60): Promise<"waiting" | "resolved" | "rejected"> {
  let state: "waiting" | "resolved" | "rejected" = "waiting";
  promise.then(
    () => (state = "resolved"),
    () => (state = "rejected"),
  );
  for (let turn = 0; turn < rounds; turn++) await new Promise((resolve) => setImmediate(resolve));
  return state;
}
