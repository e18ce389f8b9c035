/**
 * One data folder and all that goes with it: a node of the volume, with an identity, an id and a stream of its own. The
 * nodes of one daemon share its port and its streams to other nodes, nothing else: what befalls the disk of one does not
 * touch the others.
 */
import { hostname } from "node:os";
import { fail } from "../../proto/errno.js";
import type { JoinOk } from "../../proto/gen/bigfs/v1/node.js";
import { Layout } from "../common/chunks/layout.js";
import { atMost, type Cancel } from "../common/clock.js";
import { Rate } from "../common/rate.js";
import { StartupError } from "../common/running.js";
import { Task } from "../common/tasks.js";
import { Backups } from "./backups.js";
import type { ServedNode } from "./chunk-server.js";
import { ChunkStore } from "./chunk-store.js";
import { DiskHealth } from "./disk-health.js";
import type { DataFolder } from "./identity.js";
import { sendInventory } from "./inventory.js";
import { NodeLink } from "./node-link.js";
import type { StoreOptions, StoreParts } from "./options.js";
import type { Peers } from "./peers.js";
import { Pushes } from "./pushes.js";
import { Puts } from "./puts.js";
import { Reports } from "./reports.js";
import { Scrub } from "./scrub.js";

/** Bytes of the disk that stay free unless told otherwise. */
const RESERVE = 64 * 1024 * 1024;

export interface StoreNodeParts extends StoreParts {
  readonly peers: Peers;
}

export interface StoreNodeOptions extends Omit<StoreOptions, "data"> {
  /** Its data folder, absolute. */
  readonly data: string;
  /** HOST:PORT where its daemon listens. */
  readonly address: () => string;
  /** One of several nodes of its daemon. */
  readonly isOneOfSeveral: boolean;
}

interface Own {
  readonly folder: DataFolder;
  readonly health: DiskHealth;
  readonly store: ChunkStore;
  readonly scrub: Scrub;
}

export class StoreNode implements ServedNode {
  readonly store: ChunkStore;
  readonly health: DiskHealth;
  readonly scrub: Scrub;
  readonly puts: Puts;
  readonly reports: Reports;
  readonly written: Rate;
  readonly read: Rate;
  readonly backups: Backups;
  readonly #link: NodeLink;
  readonly #pushes: Pushes;
  readonly #sync: Task;
  readonly #abort = new AbortController();
  /** Resolves when every chunk that an unclean stop left in doubt was looked at. */
  #verified: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;

  private constructor(
    private readonly parts: StoreNodeParts,
    private readonly opts: StoreNodeOptions,
    private readonly own: Own,
  ) {
    const { clock, log, deadlines } = opts;
    const { network, random, registry } = parts;
    const { folder, health, store, scrub } = own;
    this.store = store;
    this.health = health;
    this.scrub = scrub;
    this.written = new Rate(clock);
    this.read = new Rate(clock);
    this.backups = new Backups({ disk: health.disk, layout: new Layout(opts.data) });
    const self = (): number => this.#link.about?.node ?? fail("EIO", "this node has not joined its volume yet");
    this.#link = new NodeLink({ clock, log, folder, network }, opts, {
      introduce: () => this.#introduce(),
      joined: (about, signal) => void this.#joined(about, signal),
      pushed: (push) => this.#pushes.handle(push),
    });
    this.reports = new Reports({ store, log, clock, self, report: (op) => this.#link.report(op) });
    const shared = { store, scrub, log, clock, peers: parts.peers, reports: this.reports, self };
    this.#pushes = new Pushes(shared, deadlines);
    // Half of a client's own deadline, so that it hears which node failed.
    this.puts = new Puts(shared, { forwardMs: deadlines.chunkMs / 2 });
    this.#sync = new Task(
      { clock, log, registry, random },
      { name: "store-sync", periodMs: deadlines.syncMs, run: () => this.#syncNew() },
    );
    store.onLost((chunk, errno) => void this.reports.lost(chunk, errno));
    void health.failed.then(() => this.#failed());
  }

  /** Opens its folder, which nobody else uses. StartupError when it cannot be used. */
  static async open(parts: StoreNodeParts, opts: StoreNodeOptions): Promise<StoreNode> {
    const { clock, log, deadlines, data, capacity, reserve = RESERVE } = opts;
    const { disk: raw, random, registry } = parts;
    const folder = await parts.openFolder(data);
    try {
      const health = new DiskHealth(raw);
      const { disk } = health;
      const mustBeGood = (): void => health.mustBeGood();
      const store = await ChunkStore.open({ disk, log, mustBeGood, random, clock }, { data, capacity, reserve });
      const scrub = await Scrub.open(
        { store, disk, clock, log, registry, random },
        { path: new Layout(data).scrub, periodMs: deadlines.scrubMs },
      );
      return new StoreNode(parts, opts, { folder, health, store, scrub });
    } catch (error) {
      await folder.close();
      throw new StartupError(`the chunks in ${data} cannot be read: ${(error as Error).message}`, {
        hint: "check the disk and the owner of its files; the other nodes have copies meanwhile",
        cause: error,
      });
    }
  }

  /** 0 until it has joined for the first time. */
  get id(): number {
    return this.own.folder.identity.node;
  }

  get uuid(): string {
    return this.own.folder.identity.uuid;
  }

  /** Empty until it has joined for the first time. */
  get volume(): string {
    return this.own.folder.identity.volume;
  }

  get data(): string {
    return this.opts.data;
  }

  get chunkSize(): number | undefined {
    return this.#link.about?.chunkSize;
  }

  get isJoined(): boolean {
    return this.#link.isJoined;
  }

  /** Resolves when it cannot be part of the volume. */
  get refused(): Promise<StartupError> {
    return this.#link.refused;
  }

  /** Begins to join. Resolves when the first try is over; rejects when it was refused. */
  async start(): Promise<void> {
    this.#verified = this.#verify();
    this.#sync.start();
    this.scrub.task.start();
    const refused = await Promise.race([this.#link.start(), this.#link.refused]);
    if (refused !== undefined) throw refused;
  }

  /** When it is served no more. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const { deadlines } = this.opts;
    this.#abort.abort();
    await this.scrub.task.stop();
    await atMost(this.opts.clock, deadlines.chunkMs, this.#pushes.stop());
    await this.#sync.stop();
    await this.#verified;
    const { synced } = await this.store.sync();
    if (this.#link.isJoined) await atMost(this.opts.clock, deadlines.connectMs, this.reports.synced(synced));
    await this.#link.stop();
    this.store.close();
    await this.own.folder.close();
  }

  /** For /healthz. */
  get detail() {
    const { isJoined: joined, volume, id: node } = this;
    return { joined, volume, node, failing: this.health.failing, ...this.store.stats };
  }

  #introduce() {
    const { opts, store } = this;
    const { capacity, used } = store.stats;
    const { advertise: address = opts.address(), zone = hostname(), data: folder, replaced: replaces } = opts;
    const { name = address } = opts;
    // People must be able to tell the nodes of one daemon apart.
    const own = opts.isOneOfSeveral ? `${name}:${folder.replaceAll(/\s/g, "_")}` : name;
    return { name: own, address, zone, capacity, used, folder, replaces };
  }

  /** On a new stream: how this node is, from now on, and what it holds. */
  async #joined(about: JoinOk, signal: AbortSignal): Promise<void> {
    const { log } = this.opts;
    log.info({ volume: about.volume, node: about.node, meta: this.opts.meta, data: this.data }, "joined");
    this.#heartbeats(about.heartbeatMs, signal);
    try {
      await this.#verified;
      if (signal.aborted || this.#abort.signal.aborted) return;
      const { store } = this;
      const say = this.#link.say.bind(this.#link);
      await sendInventory({ ids: store.ids(), held: (id) => this.reports.held(id), say }, signal);
    } catch (error) {
      if (!signal.aborted && !this.#abort.signal.aborted) log.warn({ err: error }, "the inventory was not taken");
    }
  }

  /** The metadata daemon hears it at once: until then it gives this node new chunks. */
  async #failed(): Promise<void> {
    const { log, data } = this.opts;
    const { failing } = this.health;
    log.error({ data, failing }, "the disk is failing: what can be read is copied away, replace it");
    await this.#beat().catch((error: unknown) => log.info({ err: error }, "a heartbeat failed"));
  }

  /** Says how this node is. */
  #beat(): Promise<void> {
    const { store, scrub, written, read } = this;
    const { capacity, used, chunks, busy } = store.stats;
    const rates = { writtenPerSecond: written.perSecond, readPerSecond: read.perSecond };
    const load = this.parts.load({ disk: busy, ...rates });
    const { failing } = this.health;
    const value = { capacity, used, chunks, load, unscrubbedSec: scrub.oldestSec, failing };
    return this.#link.say({ $case: "heartbeat", value });
  }

  #heartbeats(ms: number, signal: AbortSignal): void {
    let cancel: Cancel = () => {};
    const beat = async (): Promise<void> => {
      if (signal.aborted) return;
      cancel = this.opts.clock.after(ms, () => void beat());
      try {
        await this.#beat();
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
    if (synced.length > 0) void this.reports.synced(synced);
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
        await atMost(this.opts.clock, deadlines.reconnectMaxMs, aborted);
      }
    }
  }
}
