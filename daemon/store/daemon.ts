import { resolve } from "node:path";
import { atMost } from "../common/clock.js";
import { checkDeadlines } from "../common/deadlines.js";
import { collectForBigMessages } from "../common/engine.js";
import { serveHttp } from "../common/http.js";
import { OperationTimes, processRegistry } from "../common/metrics.js";
import { systemRandom } from "../common/random.js";
import { CHUNKS } from "../common/rpc/kinds.js";
import { grpc, type Listener } from "../common/rpc/network.js";
import type { Running, StartupError } from "../common/running.js";
import { mustBeReachable } from "./advertise.js";
import { ChunkServer } from "./chunk-server.js";
import { nodeDisk } from "./disk.js";
import { openDataFolder } from "./identity.js";
import { loadOf } from "./load.js";
import { StoreNode } from "./node.js";
import type { StoreOptions, StoreParts } from "./options.js";
import { Peers } from "./peers.js";
import { exportStats } from "./store-metrics.js";

/**
 * Runs a storage daemon: one node for each of its data folders. Resolves when it listens, and its nodes have joined or
 * tried to: the metadata daemon need not be there yet. StartupError for a port that is taken, and when no folder can be
 * used: what is wrong with one of several is logged, and the others are served.
 */
export async function startStore(opts: StoreOptions): Promise<Running> {
  collectForBigMessages();
  checkDeadlines(opts.deadlines);
  mustBeReachable(opts);
  const disk = opts.disk ?? nodeDisk;
  const machine = { disk, registry: processRegistry(), network: grpc, random: systemRandom, load: loadOf };
  return serveStore({ openFolder: openDataFolder, ...machine }, opts);
}

/** The same on other parts. */
export async function serveStore(parts: StoreParts, opts: StoreOptions): Promise<Running> {
  const daemon = new StoreDaemon(parts, opts);
  try {
    await daemon.start();
    return daemon;
  } catch (error) {
    await daemon.stop();
    throw error;
  }
}

class StoreDaemon implements Running {
  listen = "";
  readonly #server: Listener;
  readonly #peers: Peers;
  /** Those whose folders could be opened. */
  readonly #nodes: StoreNode[] = [];
  /** Those that are part of the volume, as far as is known. */
  #served: StoreNode[] = [];
  #chunks: ChunkServer | undefined;
  #stopHttp: () => Promise<void> = () => Promise.resolve();
  #stopped: Promise<void> | undefined;
  #end!: (error: Error) => void;
  readonly ended = new Promise<Error | undefined>((resolve) => {
    this.#end = resolve;
  });

  constructor(
    private readonly parts: StoreParts,
    private readonly opts: StoreOptions,
  ) {
    const { key, clock, log, deadlines } = opts;
    const { network } = parts;
    const volume = (): string => this.#volume;
    this.#server = network.server({ key, log, clock, volume: () => ({ uuid: volume(), incarnation: 0 }) });
    this.#peers = new Peers({ key, volume, connectMs: deadlines.connectMs, clock, network });
  }

  async start(): Promise<void> {
    const { opts } = this;
    const { clock, log } = opts;
    const folders = typeof opts.data === "string" ? [opts.data] : opts.data;
    await this.#ofSome(folders, async (data) => this.#nodes.push(await this.#open(resolve(data))));
    this.#served = [...this.#nodes];
    const times = new OperationTimes({ clock, log, registry: this.parts.registry }, "store");
    const chunks = new ChunkServer(
      { nodes: () => this.#served, times, clock, log },
      { stuckMs: opts.deadlines.ioDeadlineMs },
    );
    this.#chunks = chunks;
    exportStats(this.parts.registry, this.#nodes);
    this.#server.handle(CHUNKS, (link) => chunks.serve(link));
    this.listen = await this.#server.listen(opts.listen);
    if (opts.http !== undefined) {
      const http = await serveHttp({ listen: opts.http, registry: this.parts.registry, health: () => this.#health() });
      this.#stopHttp = () => http.stop();
    }
    for (const node of this.#nodes) void node.refused.then((why) => this.#leaveOut(node, why));
    await this.#ofSome(this.#nodes, (node) => node.start());
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const { deadlines } = this.opts;
    if (this.#chunks !== undefined) await atMost(this.opts.clock, deadlines.chunkMs, this.#chunks.stop());
    await this.#server.stop();
    await Promise.all(this.#nodes.map((node) => node.stop()));
    await this.#peers.stop();
    await this.#stopHttp();
  }

  /** The volume that they are of: those that belong to another are refused by the metadata daemon. */
  get #volume(): string {
    const known = this.#served.filter(({ volume }) => volume !== "");
    return (known.find(({ isJoined }) => isJoined) ?? known[0])?.volume ?? "";
  }

  #open(data: string): Promise<StoreNode> {
    const { opts } = this;
    const address = (): string => this.listen;
    const isOneOfSeveral = typeof opts.data !== "string" && opts.data.length > 1;
    return StoreNode.open({ ...this.parts, peers: this.#peers }, { ...opts, data, address, isOneOfSeveral });
  }

  /** Rejects, with the first reason, when it succeeds for none of them. */
  async #ofSome<T>(all: readonly T[], work: (one: T) => Promise<unknown>): Promise<void> {
    const results = await Promise.allSettled(all.map(work));
    const failed = results.filter((result) => result.status === "rejected");
    if (failed.length === results.length) throw failed[0]?.reason;
    for (const { reason } of failed) this.opts.log.error({ err: reason as unknown }, "a data folder is left out");
  }

  /** It is served no more; the daemon ends with the last one. */
  #leaveOut(node: StoreNode, why: StartupError): void {
    this.#served = this.#served.filter((other) => other !== node);
    if (this.#served.length === 0) this.#end(why);
    void node.stop();
  }

  #health() {
    const [first, ...others] = this.#served.map((node) => ({ folder: node.data, ...node.detail }));
    const ok = this.#served.every(({ isJoined }) => isJoined);
    return { ok, detail: others.length === 0 ? { ...first } : { joined: ok, folders: [first, ...others] } };
  }
}
