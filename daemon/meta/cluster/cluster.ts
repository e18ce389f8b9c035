/**
 * The storage side of the metadata daemon: which nodes there are, which copies stand where, and the work that keeps it
 * so. Everything here runs as session 0.
 */
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { fail, FsError } from "../../../proto/errno.js";
import type { NodeRemoved, RemoveNode, SetNode } from "../../../proto/gen/bigfs/v1/meta.js";
import type { NodeFrame, NodeInfo, NodeMap, NodeReply } from "../../../proto/gen/bigfs/v1/node.js";
import type { VolumeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../../common/clock.js";
import type { Deadlines } from "../../common/deadlines.js";
import type { Random } from "../../common/random.js";
import type { Link } from "../../common/rpc/link.js";
import { Task } from "../../common/tasks.js";
import type { Executor } from "../executor.js";
import { availableOn, isSynced, neededOf } from "../rules/replicas.js";
import type { Tx } from "../tx.js";
import { Census } from "./census.js";
import { ChunkChanges, type ChunkChange } from "./changes.js";
import { ChunkWaits } from "./chunk-waits.js";
import type { CleaningDue } from "./cleaning-cases.js";
import { Cleaning } from "./cleaning.js";
import { ClusterMetrics } from "./cluster-metrics.js";
import { Connection } from "./connection.js";
import { type ClusterStatus, Figures } from "./figures.js";
import { FoundChunks } from "./found-chunks.js";
import { Inventories } from "./inventory.js";
import type { Member } from "./member.js";
import { Membership } from "./membership.js";
import { PendingCopies } from "./pending-copies.js";
import { mustBeDrainable } from "./drain-plan.js";
import type { Reach } from "./reach.js";
import { Rebalance } from "./rebalance.js";
import { Removals } from "./removals.js";
import { Repair } from "./repair.js";
import { Reports } from "./reports.js";
import { Retirement } from "./retirement.js";
import { viewOf } from "./nodes-view.js";
import { ServedTime } from "./served-time.js";
import { Shortage } from "./shortage.js";
import { SurplusCopies } from "./surplus.js";
import { SyncRequests } from "./sync-requests.js";
import { Unexplained } from "./unexplained.js";
import { UnsyncedCopies } from "./unsynced-copies.js";

export interface ClusterParts {
  readonly executor: Executor;
  readonly clock: Clock;
  readonly log: Logger;
  readonly deadlines: Deadlines;
  readonly registry: Registry;
  readonly volume: Readonly<
    Pick<VolumeRow, "uuid" | "chunkSize" | "replicas" | "minReplicas" | "noRebalance" | "cleaningOff">
  >;
  /** Rejects EADDRNOTAVAIL when the node does not answer at its address; default: it is believed. */
  readonly reach?: Reach;
  readonly random?: Random;
}

/** A census is taken so many cleaning periods after the last, besides those that events ask for. */
const CENSUS_PERIODS = 10;

export class Cluster {
  readonly #membership: Membership;
  readonly #changes: ChunkChanges;
  readonly #reports: Reports;
  readonly #inventories: Inventories;
  readonly #shortage: Shortage;
  readonly #census: Census;
  readonly #repair: Repair;
  readonly #removals: Removals;
  readonly #surplus: SurplusCopies;
  readonly #rebalance: Rebalance;
  readonly #retirement: Retirement;
  readonly #syncs: SyncRequests;
  readonly #cleaning: Cleaning;
  readonly #found: FoundChunks;
  readonly #served: ServedTime;
  readonly #available: ChunkWaits;
  readonly #synced: ChunkWaits;
  readonly #figures: Figures;
  readonly #log: Logger;
  /** The background work, by name; for tests too. */
  readonly tasks: Readonly<Record<"census" | "repair" | "surplus" | "rebalance" | "cleaning" | "served", Task>>;
  #loaded: Promise<void> | undefined;

  constructor(private readonly parts: ClusterParts) {
    const { executor, clock, deadlines, registry, volume } = parts;
    const { confirmMs, cleanMs, deleteDelayMs, orphanGraceMs, recentHeartbeatMs } = deadlines;
    const log = (this.#log = parts.log);
    const metrics = new ClusterMetrics(registry);
    const membership = (this.#membership = new Membership(parts));
    const changes = (this.#changes = new ChunkChanges(executor));
    const pending = new PendingCopies({ clock }, { confirmMs });
    const nodes = viewOf(membership);
    const shortage = (this.#shortage = new Shortage({ nodes, volume }));
    const unsynced = new UnsyncedCopies(clock);
    const unexplained = new Unexplained();
    const reportsParts = { executor, changes, membership, unexplained, metrics, clock, log, volume };
    const reports = (this.#reports = new Reports(reportsParts, { recentHeartbeatMs }));
    this.#inventories = new Inventories({ executor, changes, reports, metrics, log });
    const shared = { executor, changes, membership, metrics, clock, log, volume, nodes };
    const repair = (this.#repair = new Repair({ ...shared, pending, shortage }, { confirmMs }));
    const rebalanceOpts = { moveMs: confirmMs * 10, pauseMs: confirmMs, restMs: cleanMs * CENSUS_PERIODS };
    const rebalance = (this.#rebalance = new Rebalance({ ...shared, repair, shortage }, rebalanceOpts));
    const removals = (this.#removals = new Removals({ membership, clock }, { retryMs: confirmMs }));
    const surplus = (this.#surplus = new SurplusCopies({ ...shared, removals }, { confirmMs }));
    const syncs = (this.#syncs = new SyncRequests({ membership }));
    const servedMs = Math.min(5000, (deleteDelayMs + orphanGraceMs) / 10);
    const served = (this.#served = new ServedTime({ executor, clock }, { periodMs: servedMs }));
    const mustBeDrainable = (member: Member) => this.#mustBeDrainable(member);
    const retirement = (this.#retirement = new Retirement({ ...shared, mustBeDrainable }));
    const censusParts = {
      executor,
      pending,
      shortage,
      surplus,
      rebalance,
      retirement,
      syncs,
      served,
      unsynced,
      volume,
    };
    this.#census = new Census(censusParts, { doubtMs: confirmMs });
    const cleaningParts = { executor, changes, reports, removals, syncs, served };
    const cleaning = (this.#cleaning = new Cleaning(cleaningParts, { deleteDelayMs, orphanGraceMs }));
    this.#found = new FoundChunks({ executor, changes, log });
    const counted = { census: this.#census, pending, unsynced, shortage, surplus, cleaning };
    this.#figures = new Figures({ ...counted, membership });
    this.#available = this.#availableWaits();
    this.#synced = this.#syncedWaits();
    this.tasks = {
      census: this.#task("census", cleanMs * CENSUS_PERIODS, async (signal) => {
        await this.#census.take(signal);
        this.tasks.repair.wake();
        this.tasks.surplus.wake();
      }),
      repair: this.#task("repair", confirmMs / 4, async (signal) => {
        await this.#repair.pass(signal);
        if (shortage.isOverflowing && shortage.isEmpty) this.tasks.census.wake();
      }),
      surplus: this.#task("surplus", confirmMs / 4, async (signal) => {
        await surplus.pass(signal);
        if (surplus.isOverflowing && surplus.size === 0) this.tasks.census.wake();
      }),
      rebalance: this.#task("rebalance", confirmMs / 15, (signal) => rebalance.pass(signal)),
      cleaning: this.#task("cleaning", cleanMs, (signal) => this.#clean(signal)),
      served: this.#task("served-time", servedMs, () => this.#served.advance()),
    };
    changes.onChange((change) => this.#chunkChanged(change));
    membership.onMap((map) => this.#pushMap(map));
    membership.onState((member, isSameStream) => this.#nodeChanged(member, isSameStream));
    metrics.show(this.#figures.view());
  }

  /** Reads the known nodes; they count as SUSPECT until they come back. Before it, the map is empty. */
  load(): Promise<void> {
    return (this.#loaded ??= this.#membership.load());
  }

  /** The volume is served from now on: the background work begins. */
  start(): void {
    this.#served.begin();
    for (const task of Object.values(this.tasks)) task.start();
    this.tasks.census.wake();
  }

  /** Ends the background work, refuses whoever waits, and closes all streams. */
  async stop(): Promise<void> {
    this.#available.stop();
    this.#synced.stop();
    this.#removals.stop();
    await Promise.all(Object.values(this.tasks).map((task) => task.stop()));
    this.#membership.stop();
  }

  /** Serves one node. */
  serve(link: Link<NodeReply, NodeFrame>): void {
    const { executor, log, volume, deadlines } = this.parts;
    const connection = new Connection(link, {
      ...{ executor, log },
      membership: this.#membership,
      reports: this.#reports,
      repair: this.#repair,
      surplus: this.#surplus,
      inventories: this.#inventories,
      reach: this.parts.reach ?? (() => Promise.resolve()),
      about: {
        volume: volume.uuid,
        chunkSize: volume.chunkSize,
        minReplicas: volume.minReplicas,
        heartbeatMs: deadlines.heartbeatMs,
      },
    });
    this.load().then(
      () => connection.open(),
      (error: unknown) => {
        log.error({ err: error }, "the nodes of the volume could not be read");
        link.close();
      },
    );
  }

  map(): NodeMap {
    return this.#membership.map();
  }

  /** Called with each new map. */
  onMap(fn: (map: NodeMap) => void): void {
    this.#membership.onMap(fn);
  }

  /** Whether copies on this node count as present: it has a stream, or lost it only just now. */
  isLive(node: number): boolean {
    return this.#membership.isLive(node);
  }

  /**
   * Has the chunks fsynced; resolves when each is synced on M nodes (or is garbage, so that nobody can want it). Rejects
   * EIO after ioDeadline.
   */
  ensureSynced(chunks: readonly number[]): Promise<void> {
    return this.#synced.wait(chunks);
  }

  /** Resolves when each of the chunks has M readable copies on live nodes. Rejects EIO after ioDeadline. */
  chunkAvailable(chunks: readonly number[]): Promise<void> {
    return this.#available.wait(chunks);
  }

  /** Bytes of all nodes that take chunks, divided by the number of copies. */
  capacity(): { capacity: number; free: number } {
    let capacity = 0;
    let free = 0;
    for (const { state, row } of this.#membership.all()) {
      if (state.kind !== "UP") continue;
      capacity += row.capacity;
      free += Math.max(0, row.capacity - row.used);
    }
    const { replicas } = this.parts.volume;
    return { capacity: Math.floor(capacity / replicas), free: Math.floor(free / replicas) };
  }

  /** See Membership; EBUSY or ENOSPC when the node is to be drained and the others are not enough. */
  async setNode(change: SetNode): Promise<NodeInfo> {
    // Right after the start it is not known how many copies chunks want.
    if (change.draining === true && !this.#census.isDone) await this.tasks.census.runOnce();
    const member = await this.#membership.set(change, (one) => {
      if (change.draining === true && !one.row.draining) this.#mustBeDrainable(one);
    });
    return this.#figures.infoOf(member);
  }

  /** See Retirement. */
  async removeNode(remove: RemoveNode): Promise<NodeRemoved> {
    if (!this.#census.isDone) await this.tasks.census.runOnce();
    const { member, lostChunks } = await this.#retirement.remove(remove);
    return { node: this.#figures.infoOf(member), lostChunks };
  }

  /** Has a node read all its chunks. ENOENT: it does not exist; EAGAIN: it is away. */
  scrubNode(node: number): NodeInfo {
    const member = this.#membership.get(node) ?? fail("ENOENT", `there is no node ${node}`);
    if (member.link === undefined) fail("EAGAIN", `node ${node} (${member.row.name}) is not connected`);
    member.push({ $case: "scrub", value: {} });
    return member.info();
  }

  /** Of these chunks another number of copies is wanted. */
  async chunksChanged(chunks: readonly number[]): Promise<void> {
    await this.#changes.run(chunks, { chunkOf: (chunk) => chunk }, () => undefined);
  }

  /** Runs a rule about one chunk. Resolves when it is durable; rejects as the rule does. */
  async changeChunk(chunk: number, rule: (tx: Tx) => boolean): Promise<boolean> {
    const { outcomes, batch } = await this.#changes.run([chunk], { chunkOf: (id) => id }, rule);
    const result = outcomes[0]?.result ?? fail("EIO", `nothing was done about chunk ${chunk}`);
    if (result instanceof FsError) throw result;
    await this.parts.executor.whenDurable(batch);
    return result;
  }

  /** What a report of the node would do that it holds this chunk. EAGAIN: it is away. */
  async held(node: number, { chunk, len, crc }: { chunk: number; len: number; crc: number }): Promise<void> {
    const member = this.#membership.get(node);
    if (member?.link === undefined) fail("EAGAIN", `node ${node} is not connected`);
    const stored = { chunk, len, crc, nodes: [node], synced: [], pending: [], wanted: undefined };
    await this.parts.executor.whenDurable(await this.#reports.confirm(member, [stored]));
  }

  /** There shall be another number of copies of each chunk, or cleaning is on or off. */
  settingsChanged(): void {
    this.tasks.census.wake();
    this.tasks.cleaning.wake();
    for (const waits of [this.#available, this.#synced]) this.#recheck(waits);
  }

  /** Ages in served seconds: what is dated so or earlier cleaning deals with. */
  async cleaningDue(): Promise<CleaningDue> {
    const { deleteDelayMs, orphanGraceMs } = this.parts.deadlines;
    const { value } = await this.parts.executor.execute(0, (tx) => ({
      garbage: this.#served.before(tx, deleteDelayMs),
      ended: this.#served.before(tx, orphanGraceMs),
    }));
    return value;
  }

  status(): ClusterStatus {
    return this.#figures.status();
  }

  #mustBeDrainable(member: Member): void {
    const others = [...this.#membership.all()].filter((other) => other !== member);
    const drained = others.filter(({ row }) => row.draining);
    const { replicas } = this.parts.volume;
    mustBeDrainable({
      name: member.row.name,
      wanted: Math.max(replicas, this.#census.wantedMax),
      bytes: [member, ...drained].reduce((sum, { row }) => sum + row.used, 0),
      rest: others.filter((other) => other.isLive && !other.row.draining).map(({ row }) => row),
    });
  }

  #availableWaits(): ChunkWaits {
    const { volume } = this.parts;
    return new ChunkWaits(this.parts, {
      isMet: (row) => row !== undefined && this.#shortage.count(row).live >= neededOf(row, volume),
      // Nobody looks for chunks to repair before start(), and a chunk that somebody waits for shall not wait for that.
      onUnmet: (chunk, row) => {
        this.#shortage.follow(chunk, row);
        this.tasks.repair.wake();
      },
      deadlineMs: this.parts.deadlines.ioDeadlineMs,
      errno: "EIO",
      detail: "fewer copies can be read than a write waits for",
    });
  }

  #syncedWaits(): ChunkWaits {
    const { volume } = this.parts;
    return new ChunkWaits(this.parts, {
      isMet: (row) => row === undefined || row.garbage || isSynced(row, volume),
      onUnmet: (chunk, row) => {
        this.#syncs.ask(row);
        if (row !== undefined && availableOn(row).length < neededOf(row, volume)) this.#shortage.follow(chunk, row);
      },
      onForgotten: (chunk) => this.#syncs.forget(chunk),
      deadlineMs: this.parts.deadlines.ioDeadlineMs,
      errno: "EIO",
      detail: "not on the disks of as many nodes as a write waits for",
    });
  }

  #chunkChanged(change: ChunkChange): void {
    const { chunk, after } = change;
    this.#census.note(change);
    this.#syncs.changed(chunk, after);
    this.#removals.changed(chunk, after);
    this.#available.changed(chunk, after);
    this.#synced.changed(chunk, after);
    if (this.#repair.isReady) this.tasks.repair.wake();
    if (this.#surplus.isReady) this.tasks.surplus.wake();
  }

  #nodeChanged(member: Member, isSameStream: boolean): void {
    const { kind } = member.state;
    if (!isSameStream) {
      this.#syncs.forgetNode(member.id);
      this.#removals.forgetNode(member.id);
      this.#surplus.forgetNode(member.id);
      // It has no stream any more, or a newer one: the node may have lost what it spoke of on the older.
      this.#reports.disconnected(member.id);
    }
    const counts = kind === "UP" || kind === "SUSPECT" ? member.row.draining || isSameStream : true;
    if (counts || (kind === "UP" && !this.#shortage.isEmpty)) this.tasks.census.wake();
    if (kind === "UP") this.tasks.cleaning.wake();
    this.#rebalance.wake();
    for (const waits of [this.#available, this.#synced]) this.#recheck(waits);
  }

  #recheck(waits: ChunkWaits): void {
    waits.recheck().catch((error: unknown) => this.#log.error({ err: error }, "awaited chunks could not be read"));
  }

  #pushMap(map: NodeMap): void {
    for (const member of this.#membership.all()) member.push({ $case: "map", value: map });
  }

  async #clean(signal: AbortSignal): Promise<void> {
    if (!this.parts.volume.cleaningOff) await this.#cleaning.pass(signal);
    await this.#found.pass(signal);
  }

  #task(name: string, periodMs: number, run: (signal: AbortSignal) => Promise<void>): Task {
    return new Task(this.parts, { name, periodMs, run });
  }
}
