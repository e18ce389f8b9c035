/**
 * Keeps the metadata on storage nodes: snapshots, and behind them the log of commits.
 *
 * Invariants:
 * - The log goes on (`CommitLog.shipped`) only when M nodes have fsynced the segment.
 * - Nothing here is waited for by a commit. When more waits than may, the log breaks off and a snapshot follows.
 * - Old files are removed only when `keep` newer snapshots stand on M nodes each (see names.ts).
 */
import type { Logger } from "pino";
import { FsError, errnoOf } from "../../../proto/errno.js";
import type { BackupStatus } from "../../../proto/gen/bigfs/v1/meta.js";
import type { NodeInfo } from "../../../proto/gen/bigfs/v1/node.js";
import type { VolumeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../../common/clock.js";
import type { Deadlines } from "../../common/deadlines.js";
import { Gauge, type Registry } from "../../common/metrics.js";
import type { Random } from "../../common/random.js";
import type { Network } from "../../common/rpc/network.js";
import { Task } from "../../common/tasks.js";
import type { MetaStore } from "../metastore.js";
import { BackupNode, type Upload } from "./backup-node.js";
import { writeSegment, type CommitLog } from "./commit-log.js";
import { BACKUP_FORMAT, headerOf, writeDump } from "./dump.js";
import { seqOf } from "./logged-store.js";
import { parseName, segmentName, snapshotName, surplus } from "./names.js";

export interface ShipperParts {
  readonly log: Logger;
  readonly clock: Clock;
  readonly registry: Registry;
  readonly commits: CommitLog;
  readonly store: Pick<MetaStore, "snapshot">;
  readonly volume: Readonly<VolumeRow>;
  readonly nodes: () => readonly NodeInfo[];
  readonly key: Buffer;
  readonly network: Network;
  readonly random: Random;
}

export interface ShipperOptions {
  readonly deadlines: Deadlines;
  /** Snapshots that stay. */
  readonly keep: number;
}

/** A snapshot that could not be stored is tried again after this share of its period, and at most after so long. */
const RETRY_SHARE = 0.05;
const RETRY_MS = 30_000;

export class Shipper {
  readonly #life: string;
  readonly #nodes = new Map<number, BackupNode>();
  readonly tasks: { readonly snapshot: Task; readonly log: Task };
  /** When each node failed last. */
  readonly #failedMs = new Map<number, number>();
  #snapshotMs: number | undefined;
  #isTried = false;
  #copies = 0;
  #problem = "";

  constructor(
    private readonly parts: ShipperParts,
    private readonly opts: ShipperOptions,
  ) {
    this.#life = parts.random.hex(8);
    const { backupMs, shipMs } = opts.deadlines;
    const retryMs = Math.min(RETRY_MS, backupMs * RETRY_SHARE);
    this.tasks = {
      snapshot: this.#task("backup-snapshot", retryMs, async (signal) => {
        if (this.#isDue) await this.snapshot(signal);
      }),
      log: this.#task("backup-log", shipMs, (signal) => this.ship(signal)),
    };
    this.#show();
  }

  start(): void {
    for (const task of Object.values(this.tasks)) task.start();
    this.tasks.snapshot.wake();
  }

  async stop(): Promise<void> {
    await Promise.all(Object.values(this.tasks).map((task) => task.stop()));
    for (const node of this.#nodes.values()) node.close();
  }

  get status(): BackupStatus {
    const ageMs = this.#ageMs;
    return {
      copies: this.#copies,
      ageSec: ageMs === undefined ? 0 : Math.round(ageMs / 1000),
      lagSec: Math.round(this.parts.commits.lagMs / 1000),
      problem: this.#problem,
    };
  }

  /** Stores a snapshot; rejects when fewer than M nodes have it. */
  async snapshot(signal: AbortSignal): Promise<void> {
    const { commits, store, clock, volume, log } = this.parts;
    if (commits.isBroken) log.warn("more commits waited for storage nodes than may: a snapshot takes their place");
    this.#isTried = true;
    commits.mend();
    const beganMs = clock.monotonicMs();
    const rows = await store.snapshot();
    try {
      const seq = await seqOf(rows);
      const header = await headerOf(rows, { created: clock.now(), seq, life: this.#life });
      const name = snapshotName({ incarnation: volume.incarnation, life: this.#life, seq });
      this.#copies = await this.#send(name, writeDump(rows, header), signal);
      this.#snapshotMs = beganMs;
      log.debug({ name, copies: this.#copies }, "the metadata is on storage nodes");
    } finally {
      await rows.close();
    }
    await this.#removeOld();
  }

  /** Sends the commits that wait; rejects when fewer than M nodes have them, and then they go on waiting. */
  async ship(signal: AbortSignal): Promise<void> {
    const { commits, clock, volume } = this.parts;
    // The first one comes when there are enough nodes, as now.
    if (!this.#isTried) this.tasks.snapshot.wake();
    for (let batches = commits.next(); batches.length > 0 && !signal.aborted; batches = commits.next()) {
      const [first, last] = [batches[0]?.seq ?? 0, batches.at(-1)?.seq ?? 0];
      const header = { format: BACKUP_FORMAT, volume, created: clock.now(), seq: first - 1, life: this.#life };
      const name = segmentName({ incarnation: volume.incarnation, life: this.#life, first, last });
      await this.#send(name, [await writeSegment(header, batches)], signal);
      commits.shipped(last);
    }
  }

  get #ageMs(): number | undefined {
    return this.#snapshotMs === undefined ? undefined : this.parts.clock.monotonicMs() - this.#snapshotMs;
  }

  get #isDue(): boolean {
    return this.parts.commits.isBroken || (this.#ageMs ?? Infinity) >= this.opts.deadlines.backupMs;
  }

  /** Stores a file on R nodes, or as many as there are; how many have it, M or more. Rejects EIO when fewer have. */
  async #send(name: string, parts: AsyncIterable<Buffer> | Iterable<Buffer>, signal: AbortSignal): Promise<number> {
    const { minReplicas, replicas } = this.parts.volume;
    const targets = await this.#targets(replicas);
    let uploads = targets.map((node) => ({ node, upload: node.upload(name) }));
    const each = async (step: (upload: Upload) => Promise<void>): Promise<void> => {
      const done = await Promise.all(
        uploads.map(async (one) => ((await this.#did(one.node, step(one.upload))) ? [one] : [])),
      );
      uploads = done.flat();
      if (uploads.length < minReplicas) throw this.#tooFew(uploads.length);
    };
    await each(() => Promise.resolve());
    for await (const part of parts) {
      if (signal.aborted) throw new FsError("EINTR", "the daemon stops");
      await each((upload) => upload.add(part));
    }
    await each((upload) => upload.end());
    this.#problem = "";
    return uploads.length;
  }

  /** Whether that was done; a node that fails is dialled anew the next time. */
  async #did(node: BackupNode, work: Promise<void>): Promise<boolean> {
    try {
      await work;
      return true;
    } catch (error) {
      this.parts.log.warn({ err: error, node: node.address }, "a storage node did not take the metadata");
      this.#problem = error instanceof FsError ? error.detail : String(error);
      this.#drop(node);
      return false;
    }
  }

  #tooFew(count: number): FsError {
    const { minReplicas } = this.parts.volume;
    this.#problem ||= `${count} storage nodes can be reached, it takes ${minReplicas}`;
    return new FsError("EIO", `the metadata is on ${count} of ${minReplicas} storage nodes: ${this.#problem}`);
  }

  /**
   * Streams to so many nodes that are up, in different zones first: always the same ones, but those that have failed come
   * last, the latest at the end.
   */
  async #targets(count: number): Promise<BackupNode[]> {
    const found: BackupNode[] = [];
    const failedMs = ({ id }: NodeInfo): number => this.#failedMs.get(id) ?? -Infinity;
    const order = [...this.#up()].sort((a, b) => (failedMs(a) === failedMs(b) ? 0 : failedMs(a) - failedMs(b)));
    const isFirst = ({ zone }: NodeInfo, at: number): boolean => order.findIndex((other) => other.zone === zone) === at;
    for (const info of [...order.filter(isFirst), ...order.filter((one, at) => !isFirst(one, at))]) {
      if (found.length === count) break;
      const node = await this.#connected(info);
      if (node !== undefined) found.push(node);
    }
    return found;
  }

  #up(): readonly NodeInfo[] {
    return this.parts.nodes().filter(({ state }) => state === "UP");
  }

  async #connected({ id, address }: NodeInfo): Promise<BackupNode | undefined> {
    const known = this.#nodes.get(id);
    if (known?.isClosed === false && known.address === address) return known;
    known?.close();
    const { key, clock, log, volume, network } = this.parts;
    const { connectMs, chunkMs } = this.opts.deadlines;
    try {
      const opts = { key, connectMs, answerMs: chunkMs, clock, volume: volume.uuid, node: id, network };
      const node = await BackupNode.connect(address, opts);
      this.#nodes.set(id, node);
      return node;
    } catch (error) {
      log.warn({ err: error, node: address }, "a storage node cannot be reached for the metadata");
      this.#problem = error instanceof FsError ? error.detail : errnoOf(error);
      return undefined;
    }
  }

  #drop(node: BackupNode): void {
    node.close();
    const { node: id = 0 } = node;
    this.#failedMs.set(id, this.parts.clock.monotonicMs());
    if (this.#nodes.get(id) === node) this.#nodes.delete(id);
  }

  async #removeOld(): Promise<void> {
    const { volume, log } = this.parts;
    const nodes = await this.#targets(Infinity);
    const held = new Map<number, string[]>();
    for (const [n, node] of nodes.entries())
      held.set(
        n,
        (await node.list()).map(({ name }) => name),
      );
    const later = [...held.values()].flat().find((name) => (parseName(name)?.incarnation ?? 0) > volume.incarnation);
    if (later !== undefined)
      log.error({ name: later }, "storage nodes have metadata of a later incarnation: is this an old copy?");
    const { incarnation, minReplicas: copies } = volume;
    const old = surplus(held, { keep: this.opts.keep, copies, incarnation });
    for (const [n, names] of old) await nodes[n]?.remove(names);
  }

  #task(name: string, periodMs: number, run: (signal: AbortSignal) => Promise<void>): Task {
    // Until as many nodes have joined as it takes, there is nothing to do.
    const ready = (signal: AbortSignal): Promise<void> =>
      this.#up().length < this.parts.volume.minReplicas ? Promise.resolve() : run(signal);
    return new Task(this.parts, { name, periodMs, run: ready });
  }

  #show(): void {
    const figures: readonly [string, string, () => number][] = [
      ["bigfs_meta_backup_lag_seconds", "Age of the oldest commit that no storage node has", () => this.status.lagSec],
      ["bigfs_meta_backup_age_seconds", "Age of the latest snapshot on storage nodes", () => this.status.ageSec],
      ["bigfs_meta_backup_copies_count", "Storage nodes that have the latest snapshot", () => this.#copies],
    ];
    for (const [name, help, value] of figures) {
      const gauge: Gauge = new Gauge({
        ...{ name, help },
        registers: [this.parts.registry],
        collect: () => gauge.set(value()),
      });
    }
  }
}
