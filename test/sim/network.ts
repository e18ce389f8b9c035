/**
 * A simulated network. Streams keep their order and lose nothing but their end; between streams nothing is ordered. Two
 * machines may be cut off from each other: then what is sent waits, and both ends notice after some seconds, as with
 * gRPC's keepalive. Messages are encoded and decoded as on the wire.
 */
import { FsError } from "../../proto/errno.js";
import type { RpcServerOptions } from "../../daemon/common/rpc/server.js";
import type { DialOptions } from "../../daemon/common/rpc/client.js";
import type { Codec, Link, LinkEvents, Peer, StreamKind } from "../../daemon/common/rpc/link.js";
import type { Listener, Network } from "../../daemon/common/rpc/network.js";
import type { Life, Scheduler } from "./scheduler.js";

/* eslint-disable @typescript-eslint/no-explicit-any -- links of every kind stand in one list */
type AnyLink = SimLink<any, any>;
type Accept = (link: Link<any, any>) => void;

interface Listening {
  readonly life: Life;
  readonly opts: RpcServerOptions;
  readonly kinds: Map<string, Accept>;
}

/** Between these two a peer that does not answer is given up. */
const KEEPALIVE_MS = { min: 4_000, max: 8_000 };

export class SimNetwork {
  readonly #listening = new Map<string, Listening>();
  readonly #links = new Set<AnyLink>();
  /** Pairs of machines that are cut off, each with how often that was. */
  readonly #cuts = new Map<string, number>();
  #cutCount = 0;
  /** Milliseconds that a message takes, at most. */
  slowMs = 2;

  constructor(readonly scheduler: Scheduler) {}

  /** The network as that process sees it. */
  of(life: Life): Network {
    return {
      dial: (kind, address, opts) => this.#dial(life, kind, address, opts),
      server: (opts) => this.#server(life, opts),
    };
  }

  isCut(a: string, b: string): boolean {
    return this.#cuts.has(pairOf(a, b));
  }

  /** Nothing passes between the two machines any more. `abruptly`: streams between them break at once. */
  cut(a: string, b: string, abruptly: boolean): void {
    const pair = pairOf(a, b);
    const cut = ++this.#cutCount;
    this.#cuts.set(pair, cut);
    for (const link of this.#links) {
      if (link.pair !== pair) continue;
      const ms = abruptly ? this.#latency() : this.#keepaliveMs();
      link.lostAfter(ms, () => abruptly || this.#cuts.get(pair) === cut);
    }
  }

  heal(a: string, b: string): void {
    this.#cuts.delete(pairOf(a, b));
    for (const link of [...this.#links]) link.pump();
  }

  /** One stream breaks, chosen by chance; what machines it was between. */
  breakOne(between?: readonly [string, string]): string | undefined {
    const links = [...this.#links].filter(({ pair }) => between === undefined || pair === pairOf(...between));
    const link = links[this.scheduler.chance.below(links.length)];
    if (link === undefined) return undefined;
    link.lostAfter(this.#latency(), () => true);
    link.other.lostAfter(this.#latency(), () => true);
    return link.pair;
  }

  /** The process is gone. `silently`: its machine too, so that nobody says so. */
  crashed(life: Life, silently: boolean): void {
    for (const [address, { life: owner }] of this.#listening) if (owner === life) this.#listening.delete(address);
    for (const link of [...this.#links]) {
      if (link.life !== life) continue;
      this.forget(link);
      link.other.lostAfter(silently ? this.#keepaliveMs() : this.#latency(), () => true);
    }
  }

  forget(link: AnyLink): void {
    this.#links.delete(link);
  }

  #latency(): number {
    const { chance } = this.scheduler;
    return chance.happens(0.03) ? chance.next() * this.slowMs * 30 : 0.05 + chance.next() * this.slowMs;
  }

  #keepaliveMs(): number {
    return KEEPALIVE_MS.min + this.scheduler.chance.next() * (KEEPALIVE_MS.max - KEEPALIVE_MS.min);
  }

  #server(life: Life, opts: RpcServerOptions): Listener {
    const kinds = new Map<string, Accept>();
    return {
      handle: (kind, accept) => void kinds.set(kind.path, accept),
      listen: (address) => {
        // Who was killed while it started would stand in the way of the next one.
        if (life.isDead) return new Promise(() => undefined);
        this.#listening.set(address, { life, opts, kinds });
        return Promise.resolve(address);
      },
      stop: () => {
        for (const [address, { opts: of }] of this.#listening) if (of === opts) this.#listening.delete(address);
        for (const link of [...this.#links]) {
          if (link.server === opts) link.close(new FsError("EIO", "the daemon is stopping"));
        }
        return Promise.resolve();
      },
    };
  }

  #dial<Req, Rep>(life: Life, kind: StreamKind<Req, Rep>, address: string, opts: DialOptions): Promise<Link<Req, Rep>> {
    const { scheduler } = this;
    const host = address.split(":")[0] ?? address;
    return new Promise((resolve, reject) => {
      let client: SimLink<Req, Rep> | undefined;
      const cancel = opts.clock.after(opts.connectMs, () => {
        client?.close(new FsError("ETIMEDOUT"));
        reject(new FsError("ETIMEDOUT", `no answer from ${address} within ${opts.connectMs} ms`));
      });
      const refuse = (error: FsError) => {
        if (this.isCut(life.host, host)) return;
        scheduler.after(this.#latency(), `refused ${life.host}`, life, () => {
          cancel();
          reject(error);
        });
      };
      const knock = () => {
        if (this.isCut(life.host, host) || life.isDead) return;
        const listening = this.#listening.get(address);
        if (listening === undefined) return refuse(new FsError("ECONNREFUSED", `${address} cannot be reached`));
        const accept = listening.kinds.get(kind.path);
        if (accept === undefined) return refuse(new FsError("EPROTO", `${address} is another kind of daemon`));
        const { uuid, incarnation } = listening.opts.volume();
        const expected = opts.volume ?? "";
        if (expected !== "" && uuid !== "" && expected !== uuid)
          return refuse(new FsError("EPROTO", `${address} serves volume ${uuid}, not ${expected}`));
        const wall = listening.opts.clock.now();
        const peer = { protocol: 1, incarnation, address };
        client = new SimLink(this, life, kind.request, kind.reply, {
          ...{ ...peer, role: "daemon", volume: uuid },
          clockMs: wall.sec * 1000 + Math.floor(wall.nsec / 1e6),
        });
        const serving = new SimLink(this, listening.life, kind.reply, kind.request, {
          ...{ ...peer, address: life.host, role: opts.role, volume: expected },
          clockMs: undefined,
        });
        serving.server = listening.opts;
        client.connect(serving);
        serving.connect(client);
        this.#links.add(client).add(serving);
        accept(serving);
        const made = client;
        scheduler.after(this.#latency(), `connected ${life.host} ${address}`, life, () => {
          if (made.isEnded) return;
          cancel();
          resolve(made);
        });
      };
      scheduler.after(this.#latency(), `knock ${life.host} ${address}`, undefined, knock);
    });
  }

  /** For links. */
  delayMs(): number {
    return this.#latency();
  }
}

function pairOf(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

/** What waits to be delivered; no bytes: the end of the stream. */
interface Waiting {
  readonly at: number;
  readonly bytes: Buffer | undefined;
}

class SimLink<Out, In> implements Link<Out, In> {
  readonly congested = false;
  /** Of the serving end: whose. */
  server: RpcServerOptions | undefined;
  other!: SimLink<In, Out>;
  #events: LinkEvents<In> | undefined;
  readonly #arriving: Waiting[] = [];
  #isPumping = false;
  #isPaused = false;
  #reason: FsError | undefined;
  #isToldClosed = false;

  constructor(
    private readonly network: SimNetwork,
    readonly life: Life,
    private readonly out: Codec<Out>,
    private readonly in_: Codec<In>,
    readonly peer: Peer,
  ) {}

  connect(other: SimLink<In, Out>): void {
    this.other = other;
  }

  get pair(): string {
    return pairOf(this.life.host, this.other.life.host);
  }

  get isEnded(): boolean {
    return this.#reason !== undefined;
  }

  open(events: LinkEvents<In>): void {
    this.#events = events;
    if (this.#reason !== undefined) queueMicrotask(() => this.#tellClosed());
    else this.pump();
  }

  send(message: Out): void {
    if (this.#reason === undefined) this.other.#arrive(Buffer.from(this.out.encode(message)));
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.pump();
  }

  close(reason?: FsError): void {
    if (this.#reason !== undefined) return;
    this.#end(reason ?? new FsError("EIO", "the stream was closed here"));
    this.other.#arrive(undefined);
  }

  /** The network gives this end up, if that is still so. */
  lostAfter(ms: number, isSo: () => boolean): void {
    this.network.scheduler.after(ms, `lost ${this.life.host} ${this.other.life.host}`, this.life, () => {
      if (this.#reason === undefined && isSo()) this.#lost();
    });
  }

  #lost(): void {
    this.#end(new FsError("EIO", "the connection was lost"));
    // The other end hears of it unless it has given up itself.
    if (!this.network.isCut(this.life.host, this.other.life.host)) this.other.#arrive(undefined);
    else this.other.lostAfter(KEEPALIVE_MS.max, () => true);
  }

  #arrive(bytes: Buffer | undefined): void {
    if (this.#reason !== undefined) return;
    const at = Math.max(this.network.scheduler.nowMs + this.network.delayMs(), this.#arriving.at(-1)?.at ?? 0);
    this.#arriving.push({ at, bytes });
    this.pump();
  }

  /** Delivers what has arrived, when nothing keeps it. */
  pump(): void {
    const [head] = this.#arriving;
    if (head === undefined || this.#isPumping || this.#isPaused || this.#events === undefined) return;
    if (this.#reason !== undefined || this.network.isCut(this.life.host, this.other.life.host)) return;
    this.#isPumping = true;
    const { scheduler } = this.network;
    const what = `${head.bytes === undefined ? "end" : "deliver"} ${this.other.life.host}>${this.life.host}`;
    scheduler.after(Math.max(0, head.at - scheduler.nowMs), what, this.life, () => {
      this.#isPumping = false;
      if (!this.network.isCut(this.life.host, this.other.life.host)) this.#deliver(scheduler.nowMs);
      this.pump();
    });
  }

  /** Everything that is due comes in one turn, as out of one packet. */
  #deliver(nowMs: number): void {
    while (this.#reason === undefined && !this.#isPaused) {
      const [head] = this.#arriving;
      if (head === undefined || head.at > nowMs) return;
      this.#arriving.shift();
      if (head.bytes === undefined) return this.#end(new FsError("EIO", "closed by the other side"));
      this.#events?.message(this.in_.decode(head.bytes));
    }
  }

  #end(reason: FsError): void {
    this.#reason = reason;
    this.network.forget(this);
    queueMicrotask(() => this.#tellClosed());
  }

  #tellClosed(): void {
    if (this.#events === undefined || this.#reason === undefined || this.#isToldClosed || this.life.isDead) return;
    this.#isToldClosed = true;
    this.#events.closed(this.#reason);
  }
}
