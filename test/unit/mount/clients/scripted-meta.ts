import type { Test } from "tap";
import { createLog } from "../../../../daemon/common/log.js";
import { systemClock, type Clock } from "../../../../daemon/common/clock.js";
import { DEADLINES, type Deadlines } from "../../../../daemon/common/deadlines.js";
import { SESSION } from "../../../../daemon/common/rpc/kinds.js";
import type { Link } from "../../../../daemon/common/rpc/link.js";
import { RpcServer } from "../../../../daemon/common/rpc/server.js";
import { connectMeta, type MetaClientOptions } from "../../../../mount/clients/meta-client.js";
import type { MetaClient, MetaEvents } from "../../../../mount/vfs/ports.js";
import type { FakeClock } from "../../../helpers/fake-clock.js";
import type {
  Attached,
  ClientFrame,
  Cred,
  HeldLocks,
  OpenFile,
  Recall,
  ServerFrame,
  Stamp,
} from "../../../../proto/gen/bigfs/v1/meta.js";

export const KEY = Buffer.alloc(32, 7);
export const ROOT: Cred = { uid: 0, gid: 0, groups: [], checked: true };
/** Shorter than everything else. */
const RECONNECT = { reconnectMinMs: 5, reconnectMaxMs: 20 };
export const VOLUME = "0d5f2c5e-0000-4000-8000-000000000001";

type Case = NonNullable<ClientFrame["op"]>["$case"];
type ServerLink = Link<ServerFrame, ClientFrame>;

/** A metadata daemon that says what a test tells it to, one stream after the other, over real gRPC. */
export class ScriptedMeta {
  /** Everything heard on the present stream, the attach included. */
  heard: ClientFrame[] = [];
  /** The attach of each stream. */
  readonly attaches: ClientFrame[] = [];
  durable = 0;
  #server: RpcServer | undefined;
  #link: ServerLink | undefined;
  #address = "127.0.0.1:0";
  #wake: () => void = () => {};
  /** What an attach is answered with; undefined: nothing. */
  attach: (attach: ClientFrame) => Partial<Attached> | undefined = () => ({ session: 11 });

  get address(): string {
    return this.#address;
  }

  async start(t: Test): Promise<void> {
    const server = new RpcServer({
      key: KEY,
      log: createLog("meta", "silent"),
      clock: systemClock,
      volume: () => ({ uuid: VOLUME, incarnation: 1 }),
    });
    server.handle(SESSION, (link) => this.#accept(link));
    this.#address = await server.listen(this.#address);
    this.#server = server;
    t.teardown(() => server.stop());
  }

  /** The daemon dies. */
  async stop(): Promise<void> {
    this.#link = undefined;
    this.heard = [];
    await this.#server?.stop();
  }

  /** Only the stream breaks. */
  cut(): void {
    this.#link?.close();
    this.#link = undefined;
    this.heard = [];
  }

  /** Requests of this kind on the present stream. */
  of(kind: Case): ClientFrame[] {
    return this.heard.filter((frame) => frame.op?.$case === kind);
  }

  /** Resolves with the frames of this kind when there are `count` on the present stream. */
  async some(kind: Case, count = 1): Promise<ClientFrame[]> {
    while (this.heard.length < count || this.of(kind).length < count)
      await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.of(kind);
  }

  send(frame: Partial<ServerFrame>): void {
    const echoMs = this.heard.at(-1)?.clockMs ?? 0;
    this.#link?.send({ id: 0, errno: "", durable: this.durable, echoMs, stamp: undefined, op: undefined, ...frame });
  }

  /** Answers a mkdir-like request: it ran as number `order`, in `batch`. */
  done(frame: ClientFrame | undefined, order: number, batch: number): void {
    const stamp: Stamp = { now: { sec: order, nsec: 0 }, inos: [100 + order], order, batch };
    const $case = frame?.op?.$case;
    if (frame === undefined || $case === undefined) throw new Error("nothing to answer");
    const value =
      $case === "unlink" || $case === "renew"
        ? {}
        : { attr: undefined, cached: false, entryCached: false, copied: 0, shownMs: 0 };
    this.send({ id: frame.id, stamp, op: { $case, value } as ServerFrame["op"] & object });
  }

  #accept(link: ServerLink): void {
    this.heard = [];
    this.#link = link;
    link.open({
      message: (frame) => {
        if (this.#link !== link) return;
        this.heard.push(frame);
        if (frame.op?.$case === "attach") this.#attached(frame);
        this.#wake();
      },
      closed: () => {
        if (this.#link === link) this.#link = undefined;
      },
    });
  }

  #attached(frame: ClientFrame): void {
    this.attaches.push(frame);
    const answer = this.attach(frame);
    if (answer === undefined) return;
    const shape = { volume: VOLUME, chunkSize: 65536, replicas: 2, minReplicas: 2, leaseMs: 10_000, resumed: false };
    this.send({ id: frame.id, op: { $case: "attach", value: { session: 11, map: undefined, ...shape, ...answer } } });
  }
}

/** What the holder of caches was asked, and its answers. */
export class ScriptedEvents implements MetaEvents {
  readonly log: string[] = [];
  open: OpenFile[] = [];
  locks: HeldLocks[] = [];
  confirm: (recall: Recall) => Promise<OpenFile[]> = () => Promise.resolve([]);
  dropped: () => Promise<void> = () => Promise.resolve();

  recall(recall: Recall): Promise<OpenFile[]> {
    this.log.push(`recall ${recall.number}`);
    return this.confirm(recall);
  }
  openFiles(): OpenFile[] {
    return this.open;
  }
  heldLocks(): HeldLocks[] {
    return this.locks;
  }
  locksWanted(ino: number): void {
    this.log.push(`locks of ${ino} wanted`);
  }
  locksFreed(ino: number): void {
    this.log.push(`a lock of ${ino} freed`);
  }
  crowded(): void {}

  unshared(inos: readonly number[]): void {
    this.log.push(`${inos.join()} not shared`);
  }
  uncached(): Promise<void> {
    this.log.push("uncached");
    return this.dropped();
  }
  fenced(isLost: boolean): void {
    this.log.push(isLost ? "fenced, changes lost" : "fenced");
  }
  lost(): void {
    this.log.push("lost");
  }
}

export interface Setup {
  readonly meta: ScriptedMeta;
  readonly client: MetaClient;
  readonly events: ScriptedEvents;
}

/** A client with a session at a scripted daemon. */
export async function connected(
  t: Test,
  opts: Pick<MetaClientOptions, "resume" | "onSession"> & {
    deadlines?: Partial<Deadlines>;
    clock?: Clock;
    attach?: ScriptedMeta["attach"];
  } = {},
): Promise<Setup> {
  const meta = new ScriptedMeta();
  if (opts.attach !== undefined) meta.attach = opts.attach;
  await meta.start(t);
  const deadlines = { ...DEADLINES, ...RECONNECT, ...opts.deadlines };
  const { resume, onSession } = opts;
  const client = await connectMeta({
    ...(resume === undefined ? {} : { resume }),
    ...(onSession === undefined ? {} : { onSession }),
    address: meta.address,
    key: KEY,
    name: "test",
    readOnly: false,
    deadlines,
    clock: opts.clock ?? systemClock,
    log: createLog("client", "silent"),
  });
  const events = new ScriptedEvents();
  client.listen(events);
  return { meta, client, events };
}

export const mkdir = (client: MetaClient, name: string) =>
  client.call(
    "make",
    {
      dir: 1,
      name: Buffer.from(name),
      mode: 0o40755,
      rdev: 0,
      target: Buffer.alloc(0),
      open: false,
      exclusive: true,
      truncate: false,
      umask: 0,
      access: 0,
    },
    ROOT,
  );

export const nameOfMake = (frame: ClientFrame): string =>
  frame.op?.$case === "make" ? frame.op.value.name.toString() : (frame.op?.$case ?? "");

/** Turns of the event loop, for what must not happen. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/**
 * Lets time pass until it has settled, however fast: for what time alone decides. What comes over real connections may
 * be late for any time.
 */
export async function passing<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  let isSettled = false;
  const settled = () => (isSettled = true);
  work.then(settled, settled);
  while (!isSettled) await clock.advance(10);
  return work;
}

/** Lets real connections be made, however long that takes: time passes for the pauses between two tries only. */
export async function reconnecting<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  let isSettled = false;
  const settled = () => (isSettled = true);
  work.then(settled, settled);
  while (!isSettled) {
    if (clock.nextMs <= RECONNECT.reconnectMaxMs) await clock.advance(clock.nextMs);
    else await turns(1);
  }
  return work;
}

/** The daemon dies, and the client has noticed: a timer says when it dials again. */
export async function dies(clock: FakeClock, meta: ScriptedMeta): Promise<void> {
  const { timers } = clock;
  await meta.stop();
  while (clock.timers === timers) await turns(1);
}
