import { hostname } from "node:os";
import { resolve } from "node:path";
import { fail } from "../../proto/errno.js";
import type { JoinOk } from "../../proto/gen/bigfs/v1/node.js";
import type { Cancel } from "../common/clock.js";
import { checkDeadlines } from "../common/deadlines.js";
import { collectForBigMessages } from "../common/engine.js";
import { serveHttp } from "../common/http.js";
import { OperationTimes, processRegistry, type Registry } from "../common/metrics.js";
import { CHUNKS } from "../common/rpc/kinds.js";
import { RpcServer } from "../common/rpc/server.js";
import { StartupError, type Running } from "../common/running.js";
import { Task } from "../common/tasks.js";
import { Layout } from "../common/chunks/layout.js";
import { mustBeReachable } from "./advertise.js";
import { Backups } from "./backups.js";
import { ChunkServer } from "./chunk-server.js";
import { ChunkStore } from "./chunk-store.js";
import { nodeDisk } from "./disk.js";
import { openDataFolder, type DataFolder } from "./identity.js";
import { sendInventory } from "./inventory.js";
import { loadOf } from "./load.js";
import { NodeLink } from "./node-link.js";
import type { StoreOptions } from "./options.js";
import { Peers } from "./peers.js";
import { Pushes } from "./pushes.js";
import { Puts } from "./puts.js";
import { Reports } from "./reports.js";
import { exportStats } from "./store-metrics.js";

/** Bytes of the disk that stay free unless told otherwise. */
const RESERVE = 64 * 1024 * 1024;

/**
 * Runs a storage daemon. Resolves when it listens, and has joined or tried to: the metadata daemon need not be there
 * yet. StartupError for a folder that cannot be used, a port that is taken, another volume or another key.
 */
export async function startStore(opts: StoreOptions): Promise<Running> {
  collectForBigMessages();
  checkDeadlines(opts.deadlines);
  mustBeReachable(opts);
  const folder = await openDataFolder(opts.data);
  const daemon = await open(opts, folder).catch(async (error: unknown) => {
    await folder.close();
    throw error;
  });
  try {
    await daemon.start();
    return daemon;
  } catch (error) {
    await daemon.stop();
    throw error;
  }
}

async function open(opts: StoreOptions, folder: DataFolder): Promise<StoreDaemon> {
  const space = { capacity: opts.capacity, reserve: opts.reserve ?? RESERVE };
  try {
    const store = await ChunkStore.open({ disk: nodeDisk, log: opts.log }, { data: opts.data, ...space });
    return new StoreDaemon(opts, folder, store);
  } catch (error) {
    throw new StartupError(`the chunks in ${opts.data} cannot be read: ${(error as Error).message}`, {
      hint: "check the disk and the owner of its files; the other nodes have copies meanwhile",
      cause: error,
    });
  }
}

class StoreDaemon implements Running {
  listen = "";
  readonly ended: Promise<Error | undefined>;
  readonly #registry: Registry = processRegistry();
  readonly #server: RpcServer;
  readonly #link: NodeLink;
  readonly #reports: Reports;
  readonly #peers: Peers;
  readonly #pushes: Pushes;
  readonly #chunks: ChunkServer;
  readonly #sync: Task;
  readonly #abort = new AbortController();
  /** Resolves when every chunk that an unclean stop left in doubt was looked at. */
  #verified: Promise<void> = Promise.resolve();
  #stopHttp: () => Promise<void> = () => Promise.resolve();
  #stopped: Promise<void> | undefined;

  constructor(
    private readonly opts: StoreOptions,
    private readonly folder: DataFolder,
    private readonly store: ChunkStore,
  ) {
    const { key, clock, log, deadlines } = opts;
    const volume = (): string => folder.identity.volume;
    const self = (): number => this.#link.about?.node ?? fail("EIO", "this node has not joined its volume yet");
    this.#server = new RpcServer({ key, log, clock, volume: () => ({ uuid: volume(), incarnation: 0 }) });
    this.#link = new NodeLink({ clock, log, folder }, opts, {
      introduce: () => this.#introduce(),
      joined: (about, signal) => void this.#joined(about, signal),
      pushed: (push) => this.#pushes.handle(push),
    });
    this.ended = this.#link.refused;
    this.#reports = new Reports({ store, log, clock, self, report: (op) => this.#link.report(op) });
    this.#peers = new Peers({ key, volume, connectMs: deadlines.connectMs, clock });
    const parts = { store, log, clock, peers: this.#peers, reports: this.#reports, self };
    this.#pushes = new Pushes(parts, deadlines);
    // Half of a client's own deadline, so that it hears which node failed.
    const puts = new Puts(parts, { forwardMs: deadlines.chunkMs / 2 });
    const times = new OperationTimes({ clock, log, registry: this.#registry }, "store");
    const chunkSize = (): number | undefined => this.#link.about?.chunkSize;
    this.#chunks = new ChunkServer(
      { ...parts, puts, times, backups: new Backups({ disk: nodeDisk, layout: new Layout(opts.data) }) },
      { folder: resolve(opts.data), uuid: folder.identity.uuid, chunkSize, stuckMs: deadlines.ioDeadlineMs },
    );
    this.#sync = new Task(
      { clock, log, registry: this.#registry },
      { name: "store-sync", periodMs: deadlines.syncMs, run: () => this.#syncNew() },
    );
    store.onLost((chunk, errno) => void this.#reports.lost(chunk, errno));
    exportStats(this.#registry, store, () => this.#link.isJoined);
  }

  async start(): Promise<void> {
    const { opts } = this;
    this.#server.handle(CHUNKS, (link) => this.#chunks.serve(link));
    this.listen = await this.#server.listen(opts.listen);
    if (opts.http !== undefined) {
      const http = await serveHttp({ listen: opts.http, registry: this.#registry, health: () => this.#health() });
      this.#stopHttp = () => http.stop();
    }
    this.#verified = this.#verify();
    this.#sync.start();
    const refused = await Promise.race([this.#link.start(), this.#link.refused]);
    if (refused !== undefined) throw refused;
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const { deadlines } = this.opts;
    this.#abort.abort();
    await this.#atMost(deadlines.chunkMs, this.#chunks.stop());
    await this.#server.stop();
    await this.#atMost(deadlines.chunkMs, this.#pushes.stop());
    await this.#sync.stop();
    await this.#verified;
    const { synced } = await this.store.sync();
    if (this.#link.isJoined) await this.#atMost(deadlines.connectMs, this.#reports.synced(synced));
    await this.#link.stop();
    await this.#peers.stop();
    await this.#stopHttp();
    this.store.close();
    await this.folder.close();
  }

  #introduce() {
    const { opts, store, listen } = this;
    const { capacity, used } = store.stats;
    const { advertise: address = listen, name = address, zone = hostname() } = opts;
    return { name, address, zone, capacity, used };
  }

  /** On a new stream: how this node is, from now on, and what it holds. */
  async #joined(about: JoinOk, signal: AbortSignal): Promise<void> {
    const { log } = this.opts;
    log.info({ volume: about.volume, node: about.node, meta: this.opts.meta }, "joined");
    this.#heartbeats(about.heartbeatMs, signal);
    try {
      await this.#verified;
      if (signal.aborted || this.#abort.signal.aborted) return;
      const { store } = this;
      const say = this.#link.say.bind(this.#link);
      await sendInventory({ ids: store.ids(), held: (id) => this.#reports.held(id), say }, signal);
    } catch (error) {
      if (!signal.aborted && !this.#abort.signal.aborted) log.warn({ err: error }, "the inventory was not taken");
    }
  }

  #heartbeats(ms: number, signal: AbortSignal): void {
    let cancel: Cancel = () => {};
    const beat = async (): Promise<void> => {
      if (signal.aborted) return;
      cancel = this.opts.clock.after(ms, () => void beat());
      try {
        const { capacity, used, chunks, busy } = this.store.stats;
        const { written, read } = this.#chunks;
        const rates = { writtenPerSecond: written.perSecond, readPerSecond: read.perSecond };
        const load = loadOf({ disk: busy, ...rates });
        await this.#link.say({ $case: "heartbeat", value: { capacity, used, chunks, load } });
        await this.store.refreshSpace();
      } catch (error) {
        if (!signal.aborted) this.opts.log.warn({ err: error }, "a heartbeat failed");
      }
    };
    signal.addEventListener("abort", () => cancel(), { once: true });
    void beat();
  }

  async #syncNew(): Promise<void> {
    const { synced } = await this.store.sync();
    if (synced.length > 0) void this.#reports.synced(synced);
  }

  /** A disk that cannot be read now is asked again until it can. */
  async #verify(): Promise<void> {
    const { log, deadlines } = this.opts;
    const { signal } = this.#abort;
    while (this.store.stats.unverified > 0 && !signal.aborted) {
      try {
        await this.store.verifyUnverified(signal);
      } catch (error) {
        log.warn({ err: error }, "chunks cannot be verified now");
        const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        await this.#atMost(deadlines.reconnectMaxMs, aborted);
      }
    }
  }

  async #atMost(ms: number, work: Promise<unknown>): Promise<void> {
    let cancel: Cancel = () => {};
    const over = new Promise<void>((resolve) => {
      cancel = this.opts.clock.after(ms, resolve);
    });
    await Promise.race([work, over]).finally(() => cancel());
  }

  #health() {
    const { identity } = this.folder;
    const ok = this.#link.isJoined;
    return { ok, detail: { joined: ok, volume: identity.volume, node: identity.node, ...this.store.stats } };
  }
}
