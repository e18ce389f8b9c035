import { pino } from "pino";
import { Registry } from "prom-client";
import type { ChunkRow, SessionRow, VolumeRow } from "../../proto/gen/bigfs/v1/rows.js";
import type { StoredChunk } from "../../proto/gen/bigfs/v1/node.js";
import { DEADLINES, type Deadlines } from "../../daemon/common/deadlines.js";
import { Cluster } from "../../daemon/meta/cluster/cluster.js";
import type { Reach } from "../../daemon/meta/cluster/reach.js";
import { Executor } from "../../daemon/meta/executor.js";
import { key, type Key, type RowKind, type Rows } from "../../daemon/meta/keys.js";
import { MemoryStore, type MemoryStoreOptions } from "../../daemon/meta/memory-store.js";
import { takeChunkRange } from "../../daemon/meta/rules/ranges.js";
import { createVolume } from "../../daemon/meta/rules/volume.js";
import { FakeClock, settle } from "./fake-clock.js";
import { ScriptedNode } from "./scripted-node.js";

export interface BenchOptions {
  readonly replicas?: number;
  readonly minReplicas?: number;
  readonly deadlines?: Partial<Deadlines>;
  readonly store?: MemoryStoreOptions;
  readonly reach?: Reach;
}

/** The real Cluster and Executor over memory, a clock that stands still, and sessions made by hand. */
export class ClusterBench {
  readonly clock = new FakeClock();
  readonly registry = new Registry();
  readonly nodes: ScriptedNode[] = [];
  readonly log = pino({ level: "silent" });

  private constructor(
    readonly store: MemoryStore,
    readonly executor: Executor,
    readonly cluster: Cluster,
    readonly volume: VolumeRow,
    parts: { clock: FakeClock; registry: Registry },
  ) {
    this.clock = parts.clock;
    this.registry = parts.registry;
  }

  static async make(opts: BenchOptions = {}, store = new MemoryStore(opts.store)): Promise<ClusterBench> {
    const log = pino({ level: "silent" });
    const clock = new FakeClock();
    const registry = new Registry();
    const executor = new Executor({ store, log });
    const { replicas = 2, minReplicas = replicas } = opts;
    const { value: volume } = await executor.execute(0, (tx) => {
      const made = { uuid: "the-volume", chunkSize: 2 ** 20, replicas, minReplicas, now: clock.now(), uid: 0, gid: 0 };
      return tx.get(key.volume) ?? createVolume(tx, made);
    });
    const deadlines = { ...DEADLINES, ...opts.deadlines };
    const cluster = new Cluster({
      executor,
      clock,
      log,
      deadlines,
      registry,
      volume,
      ...(opts.reach && { reach: opts.reach }),
    });
    await cluster.load();
    return new ClusterBench(store, executor, cluster, volume, { clock, registry });
  }

  /** A node that has joined, in a zone of its own. */
  async node(uuid: string, about: Partial<ScriptedNode["about"]> = {}): Promise<ScriptedNode> {
    const node = this.connect(uuid, about);
    const reply = await node.join();
    if (reply.errno !== "") throw new Error(reply.detail);
    return node;
  }

  /** A stream of a node that has not said anything yet. */
  connect(uuid: string, about: Partial<ScriptedNode["about"]> = {}): ScriptedNode {
    const node = new ScriptedNode(this.cluster, { uuid, ...about });
    this.nodes.push(node);
    return node;
  }

  /** A live session and the first id of a range of chunk ids that it was given. */
  async session(id: number): Promise<number> {
    const { value } = await this.executor.execute(0, (tx) => {
      const row: SessionRow = {
        id,
        name: `s${id}`,
        started: undefined,
        readOnly: false,
        ended: false,
        endedServedSec: 0,
      };
      tx.put(key.session(id), row);
      return takeChunkRange(tx, id).first;
    });
    return value;
  }

  async endSession(id: number): Promise<void> {
    const { servedSec } = await this.mustRow(key.volume);
    await this.change(key.session(id), (row) => ({ ...row, ended: true, endedServedSec: servedSec }));
  }

  async row<K extends RowKind>(rowKey: Key<K>): Promise<Readonly<Rows[K]> | undefined> {
    return (await this.executor.execute(0, (tx) => tx.get(rowKey))).value;
  }

  async mustRow<K extends RowKind>(rowKey: Key<K>): Promise<Readonly<Rows[K]>> {
    const row = await this.row(rowKey);
    if (row === undefined) throw new Error(`there is no row ${rowKey}`);
    return row;
  }

  async change<K extends RowKind>(rowKey: Key<K>, edit: (row: Readonly<Rows[K]>) => Rows[K]): Promise<void> {
    await this.executor.execute(0, (tx) => {
      const row = tx.get(rowKey);
      if (row === undefined) throw new Error(`there is no row ${rowKey}`);
      tx.put(rowKey, edit(row));
    });
  }

  /** The chunk is named by one slice. */
  async refer(chunk: number): Promise<void> {
    await this.change(key.chunk(chunk), (row) => ({ ...row, refs: 1 }));
  }

  async chunk(chunk: number): Promise<Readonly<ChunkRow> | undefined> {
    return this.row(key.chunk(chunk));
  }

  /** "node:state" of each copy, for comparing: P, A, S (available and synced), D. */
  async copies(chunk: number): Promise<string[]> {
    const row = await this.chunk(chunk);
    const letters = ["?", "P", "A", "D"];
    return (row?.replicas ?? [])
      .map(({ node, state, synced }) => `${node}:${state === 2 && synced ? "S" : (letters[state] ?? "?")}`)
      .sort();
  }

  /** The names of the gauges and counters with their values. */
  metrics(): Promise<string> {
    return this.registry.metrics();
  }

  async stop(): Promise<void> {
    await this.cluster.stop();
    for (const node of this.nodes) node.link.close();
    await settle();
  }
}

/** A gate for MemoryStoreOptions that holds commits back while it is shut. */
export class CommitGate {
  #open: (() => void) | undefined;
  #isShut = false;

  readonly gate = (call: string, when: string): Promise<void> | undefined => {
    if (!this.#isShut || call !== "commit" || when !== "before") return undefined;
    return new Promise((resolve) => (this.#open = resolve));
  };

  shut(): void {
    this.#isShut = true;
  }

  open(): void {
    this.#isShut = false;
    this.#open?.();
  }
}

/** What a primary says of a chunk whose copies stand on these nodes. */
export function stored(chunk: number, nodes: readonly number[], fields: Partial<StoredChunk> = {}): StoredChunk {
  return { chunk, len: 1000, crc: chunk % 2 ** 32, nodes: [...nodes], synced: [], pending: [], ...fields };
}
