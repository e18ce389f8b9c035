import { FsError } from "../../proto/errno.js";
import type { Attr, Changed, Cred, Recall } from "../../proto/gen/bigfs/v1/meta.js";
import type { NodeMap, StoredChunk } from "../../proto/gen/bigfs/v1/node.js";
import type { InodeRow, Time } from "../../proto/gen/bigfs/v1/rows.js";
import { nameBytes } from "../../proto/name.js";
import { type Key, type RowKind, type Rows, idIn, key, kindOf, nameIn } from "../../daemon/meta/keys.js";
import { attrOf } from "../../daemon/meta/rules/inodes.js";
import { readdirCheck } from "../../daemon/meta/rules/attributes.js";
import { beginDelete, registerChunk, removedChunk, syncedChunk } from "../../daemon/meta/rules/chunks.js";
import type { Context } from "../../daemon/meta/rules/context.js";
import { reapOrphan } from "../../daemon/meta/rules/drop.js";
import { isDir } from "../../daemon/meta/rules/modes.js";
import { Locks } from "../../daemon/meta/locks.js";
import { Opens } from "../../daemon/meta/opens.js";
import { OPERATIONS, type RuleName } from "../../daemon/meta/rules/operations.js";
import { takeChunkRange } from "../../daemon/meta/rules/ranges.js";
import { unsyncedOf } from "../../daemon/meta/rules/unsynced.js";
import { createVolume } from "../../daemon/meta/rules/volume.js";
import type { Tx } from "../../daemon/meta/tx.js";
import type {
  CallOptions,
  MetaClient,
  MetaEvents,
  OpArgs,
  OpName,
  OpResult,
  Told,
  VolumeInfo,
} from "../../mount/vfs/ports.js";
import type { Chance } from "./chance.js";
import { FakeChunkClient, type FakeNodes } from "./fake-chunk-client.js";
import { type FakeClock, settle } from "./fake-clock.js";
import { MemoryRows } from "./memory-tx.js";

type LeaseKey = Key<"I"> | Key<"E">;

export interface FakeClusterParts {
  readonly clock: FakeClock;
  readonly nodes: FakeNodes;
  readonly chance: Chance;
}

export interface FakeClusterOptions {
  readonly chunkSize: number;
  readonly replicas?: number;
  readonly minReplicas?: number;
}

/**
 * A metadata daemon in memory: the real rules, and leases in their simplest form. A change recalls them from the other
 * sessions before it is answered; nobody gets one while it is being recalled.
 */
export class FakeCluster {
  readonly rows = new MemoryRows();
  readonly volume: VolumeInfo;
  readonly sessions: FakeMetaClient[] = [];
  readonly locks = new Locks({
    wanted: (session, ino) => this.sessions[session - 1]?.events?.locksWanted(ino),
    freed: (session, ino) => this.sessions[session - 1]?.events?.locksFreed(ino),
  });
  readonly opens: Opens = new Opens({
    shared: (ino, by) => {
      const others = this.opens.sessionsOf(ino).filter((session) => session !== by);
      const told = others.map(async (session) => this.sessions[session - 1]?.events?.recall(shareOf(ino)));
      this.sharing.set(ino, Promise.all(told));
    },
    unshared: (ino) => {
      for (const session of this.opens.sessionsOf(ino)) this.sessions[session - 1]?.events?.unshared([ino]);
    },
  });
  /** Resolve when all know that the file is shared. */
  readonly sharing = new Map<number, Promise<unknown>>();
  /** Nodes that are not UP. */
  readonly down = new Set<number>();
  #nextIno = 2 ** 41;

  constructor(
    readonly parts: FakeClusterParts,
    opts: FakeClusterOptions,
  ) {
    const { chunkSize, replicas = 2, minReplicas = replicas } = opts;
    this.volume = { volume: "fake", chunkSize, replicas, minReplicas };
    const made = { uuid: "fake", chunkSize, replicas, minReplicas, uid: 0, gid: 0, now: parts.clock.now() };
    this.rows.run((tx) => createVolume(tx, made));
  }

  get map(): NodeMap {
    const nodes = this.parts.nodes.nodes.map(({ id }) => ({
      id,
      name: `node${id}`,
      address: "",
      zone: `zone${id}`,
      weight: 1,
      state: this.down.has(id) ? "DOWN" : "UP",
      capacity: 0,
      used: 0,
      chunks: 0,
      load: undefined,
      uuid: "",
    }));
    return { version: 1, nodes };
  }

  /** A new session with its two clients. */
  connect(): { meta: FakeMetaClient; chunks: FakeChunkClient } {
    const meta = new FakeMetaClient(this, this.sessions.length + 1);
    this.sessions.push(meta);
    const register = (stored: StoredChunk): void => void this.rows.run((tx) => registerChunk(tx, stored));
    return { meta, chunks: new FakeChunkClient({ ...this.parts, register }) };
  }

  inode(ino: number): Readonly<InodeRow> | undefined {
    return this.rows.get(key.inode(ino));
  }

  /** The first of so many. */
  freshInos(count: number): number {
    this.#nextIno += count;
    return this.#nextIno - count;
  }

  /** What nothing names any more is removed from the nodes at once. */
  clean(): void {
    for (const [, { chunk }] of this.rows.of("G")) {
      this.#sync(chunk);
      const nodes = this.rows.run((tx) => beginDelete(tx, chunk, Infinity)) ?? [];
      for (const id of nodes) {
        this.parts.nodes.node(id).chunks.delete(chunk);
        this.rows.run((tx) => removedChunk(tx, id, chunk));
      }
    }
  }

  /** As Fsync does: every chunk of the file is synced. */
  fsync(ino: number): void {
    for (const chunk of this.rows.run((tx) => unsyncedOf(tx, ino))) this.#sync(chunk);
  }

  #sync(chunk: number): void {
    for (const { node } of this.rows.get(key.chunk(chunk))?.replicas ?? []) {
      this.rows.run((tx) => syncedChunk(tx, node, chunk));
    }
  }
}

/** One session of a FakeCluster. Requests and answers are late by chance, so that they overtake each other. */
export class FakeMetaClient implements MetaClient {
  readonly leases = new Set<LeaseKey>();
  readonly calls = new Map<string, number>();
  readonly forgotten: number[] = [];
  /** What is left of the lease. */
  leaseMs = 10_000;
  /** Folders that may not be cached may be shown for so long. */
  sharedFolderMs = 0;
  /** No answer may be kept. */
  uncached = false;
  /** Every folder is this session's exclusively: for a session that is the only one. */
  exclusive = false;
  /** What is new can be sent at once. */
  isReady = true;
  /** Before a request is carried out; may wait, or throw what the request shall fail with. */
  before: (op: string, args: unknown) => Promise<void> | void = () => {};
  /** After a request was carried out, before its answer travels. */
  after: (op: string, args: unknown) => Promise<void> | void = () => {};
  events: MetaEvents | undefined;
  readonly #recalling = new Set<LeaseKey>();
  #recalls = 0;
  #range = { first: 0, left: 0 };

  constructor(
    private readonly cluster: FakeCluster,
    readonly session: number,
  ) {
    this.newSessionRow();
  }

  get volume(): VolumeInfo {
    return this.cluster.volume;
  }

  get map(): NodeMap {
    return this.cluster.map;
  }

  leaseLeftMs(): number {
    return this.leaseMs;
  }

  now(): Time {
    return this.cluster.parts.clock.now();
  }

  async call<C extends OpName>(
    op: C,
    args: OpArgs<C>,
    who: Cred,
    { told, take }: CallOptions<C> = {},
  ): Promise<OpResult<C>> {
    this.calls.set(op, (this.calls.get(op) ?? 0) + 1);
    await this.before(op, args);
    await this.#late();
    const locked = await this.#lock(op, args);
    if (locked !== undefined) {
      await this.#late();
      take?.(locked as OpResult<C>);
      return locked as OpResult<C>;
    }
    const { result, changed } = this.#execute(op, args, who, told);
    await Promise.all(this.cluster.sessions.map((other) => other.#recall(this, changed)));
    await this.after(op, args);
    const opened = openedBy(op, args, result);
    if (opened !== undefined) await this.cluster.sharing.get(opened);
    await this.#late();
    if (opened !== undefined) Object.assign(result as object, { shared: this.cluster.opens.isShared(opened) });
    take?.(result as OpResult<C>);
    return result as OpResult<C>;
  }

  tell<C extends "close" | "forget" | "locks">(op: C, args: OpArgs<C>): void {
    if (op === "locks") return this.cluster.locks.declare(this.session, args as OpArgs<"locks">);
    if (op === "forget") {
      const { inos } = args as OpArgs<"forget">;
      this.forgotten.push(...inos);
      for (const ino of inos) this.leases.delete(key.inode(ino));
      return;
    }
    const { ino, count, writers } = args as OpArgs<"close">;
    const { opens, locks } = this.cluster;
    const isLast = opens.close(this.session, ino, { count, writers });
    if (!opens.isOpenBy(this.session, ino)) locks.close(this.session, ino);
    if (isLast) this.cluster.rows.run((tx) => reapOrphan(tx, ino));
  }

  async durable(): Promise<void> {}

  listen(events: MetaEvents): void {
    this.events = events;
  }

  async stop(): Promise<void> {}

  newSessionRow(): void {
    const { clock } = this.cluster.parts;
    const row = { id: this.session, name: "", started: clock.now(), readOnly: false, ended: false, endedServedSec: 0 };
    this.cluster.rows.run((tx) => {
      tx.put(key.session(this.session), row);
    });
  }

  async #lock(op: OpName, args: unknown): Promise<object | undefined> {
    const { locks } = this.cluster;
    if (op !== "lock" && op !== "getlock") return undefined;
    const { ino, lock, wait } = args as OpArgs<"lock">;
    if (lock === undefined) throw new FsError("EINVAL");
    if (op === "lock") return locks.set({ id: this.session, isEnded: false }, ino, lock, wait);
    return { lock: await locks.get(this.session, ino, lock) };
  }

  #execute(
    op: OpName,
    args: unknown,
    who: Cred,
    told?: Told,
  ): { result: unknown; changed: ReadonlyMap<LeaseKey, boolean> } {
    const { rows } = this.cluster;
    const nothing: ReadonlyMap<LeaseKey, boolean> = new Map();
    if (op === "slots")
      args = { ...(args as OpArgs<"slots">), count: this.#shortened((args as OpArgs<"slots">).count) };
    if (op === "alloc") return { result: this.#alloc((args as OpArgs<"alloc">).count), changed: nothing };
    if (op === "inodes") {
      const { count } = args as OpArgs<"inodes">;
      return { result: { first: this.cluster.freshInos(count), count }, changed: nothing };
    }
    if (op === "statfs") return { result: { capacity: 2 ** 40, free: 2 ** 40, inodes: 1 }, changed: nothing };
    if (op === "readdir") return { result: this.#readdir(args as OpArgs<"readdir">, who), changed: nothing };
    if (op === "fsync") {
      this.cluster.fsync((args as OpArgs<"fsync">).ino);
      return { result: {}, changed: nothing };
    }
    if (!Object.hasOwn(OPERATIONS, op)) throw new FsError("ENOSYS", op);
    let watch: Watch | undefined;
    const result = rows.run((tx) => {
      watch = new Watch(tx);
      const rule = OPERATIONS[op as RuleName] as (tx: Tx, ctx: Context, args: unknown) => object;
      return rule(watch, { ...this.#context(who, told) }, args);
    });
    const changed = watch?.changed() ?? nothing;
    this.#note(op, result, args);
    if (["make", "link", "unlink", "rmdir", "rename"].includes(op)) this.#noteChanged(result, changed.keys());
    return { result, changed };
  }

  /** Counts opens and gives leases. */
  #note(op: OpName, result: object, args: unknown): void {
    const reply = result as { attr?: Attr; cached?: boolean; entryCached?: boolean; slots?: { cached?: boolean } };
    const opened = openedBy(op, args, result);
    const writers = ((args as OpArgs<"open">).access & 2) === 0 ? 0 : 1;
    if (opened !== undefined) this.cluster.opens.open(this.session, opened, { count: 1, writers });
    if (reply.attr !== undefined && "cached" in reply) reply.cached = this.#grant(key.inode(reply.attr.ino));
    if (op === "getattr" && reply.cached !== true && isDir(reply.attr ?? { mode: 0 })) {
      Object.assign(reply, { shownMs: this.sharedFolderMs });
    }
    if (op === "open" && reply.slots !== undefined) reply.slots.cached = reply.cached === true;
    if (op === "rename" && "moved" in reply && reply.moved !== 0) {
      const at = args as OpArgs<"rename">;
      const grant = (dir: number, name: Buffer) => this.#grant(key.entry(dir, name.toString("latin1") as never));
      Object.assign(reply, {
        fromCached: grant(at.fromDir, at.fromName),
        intoCached: grant(at.intoDir, at.intoName),
      });
    }
    if ("entryCached" in reply) {
      const at = args as { dir: number; name: Buffer };
      reply.entryCached = this.#grant(key.entry(at.dir, at.name.toString("latin1") as never));
      Object.assign(reply, { exclusive: this.exclusive && reply.cached === true });
    }
  }

  /** What else was changed, as far as it may be cached. */
  #noteChanged(result: object, keys: Iterable<LeaseKey>): void {
    const reply = result as { attr?: Attr; changed?: Changed };
    const told: Changed = { attrs: [], shared: [], shownMs: this.sharedFolderMs };
    for (const k of keys) {
      const inode = kindOf(k) === "I" && idIn(k) !== reply.attr?.ino ? this.cluster.inode(idIn(k)) : undefined;
      if (inode === undefined) continue;
      if (this.#grant(k)) told.attrs.push(attrOf(inode));
      else if (isDir(inode) && this.sharedFolderMs > 0) told.shared.push(attrOf(inode));
    }
    reply.changed = told;
  }

  #readdir(args: OpArgs<"readdir">, who: Cred): OpResult<"readdir"> {
    const { rows } = this.cluster;
    const { parent } = rows.run((tx) => readdirCheck(tx, this.#context(who), args));
    const all = rows.of("C").filter(([at]) => idIn(at) === args.dir && idIn(at, 1) > args.after);
    const page = all.slice(0, args.limit);
    const entries = page.map(([at, row]) => {
      const inode = this.cluster.inode(row.ino);
      const attr = args.withAttrs && inode !== undefined ? attrOf(inode) : undefined;
      return { name: row.name, ino: row.ino, type: row.type, cookie: idIn(at, 1), attr, exclusive: this.exclusive };
    });
    const keys = page.flatMap(([, row]) => [
      key.inode(row.ino),
      key.entry(args.dir, row.name.toString("latin1") as never),
    ]);
    const cached = args.withAttrs && keys.every((k) => this.#grant(k));
    return { entries, end: page.length === all.length, parent, cached, entryCached: cached, exclusive: this.exclusive };
  }

  /** Answers about slots may stop short. */
  #shortened(count: number): number {
    return this.cluster.parts.chance.happens(0.2) ? 1 : count;
  }

  #alloc(count: number): OpResult<"alloc"> {
    if (this.#range.left < count) {
      const row = this.cluster.rows.run((tx) => takeChunkRange(tx, this.session));
      this.#range = { first: row.first, left: row.count };
    }
    const { first } = this.#range;
    this.#range = { first: first + count, left: this.#range.left - count };
    return { first, count, map: this.map };
  }

  #context(who: Cred, told?: Told): Context {
    const { cluster, session } = this;
    return {
      who,
      now: told?.at ?? cluster.parts.clock.now(),
      isTold: told !== undefined,
      session,
      readOnly: false,
      freshIno: () => told?.ino ?? cluster.freshInos(1),
      isOpen: (ino) => cluster.opens.isOpen(ino),
      isLive: (node) => !cluster.down.has(node),
      volume: cluster.volume,
    };
  }

  #grant(k: LeaseKey): boolean {
    if (this.uncached || this.leaseMs <= 0) return false;
    if (this.cluster.sessions.some((session) => session.#recalling.has(k))) return false;
    this.leases.add(k);
    return true;
  }

  async #recall(by: FakeMetaClient, changed: ReadonlyMap<LeaseKey, boolean>): Promise<void> {
    if (by === this) return;
    const keys = [...changed.keys()].filter((k) => this.leases.has(k) || this.#recalling.has(k));
    if (keys.length === 0 || this.events === undefined) return;
    const recall: Recall = { number: ++this.#recalls, inodes: [], entries: [] };
    for (const k of keys) {
      this.leases.delete(k);
      this.#recalling.add(k);
      if (kindOf(k) === "I") recall.inodes.push({ ino: idIn(k), data: changed.get(k) === true });
      else recall.entries.push({ dir: idIn(k), name: nameBytes(nameIn(k as Key<"E">)) });
    }
    await this.#late();
    await this.events.recall(recall);
    await this.#late();
    for (const k of keys) this.#recalling.delete(k);
  }

  #late(): Promise<void> {
    return settle(this.cluster.parts.chance.turns());
  }
}

/** Notes what a rule changes that others may cache: whether of an inode also its data. */
class Watch implements Tx {
  readonly #changed = new Map<LeaseKey, boolean>();

  constructor(private readonly tx: Tx) {}

  get<K extends RowKind>(k: Key<K>): Readonly<Rows[K]> | undefined {
    return this.tx.get(k);
  }

  put<K extends RowKind>(k: Key<K>, row: Rows[K]): void {
    if (kindOf(k) === "I") {
      const before = this.tx.get(k as Key<"I">);
      const after = row as InodeRow;
      this.#note(k as Key<"I">, before?.size !== after.size || before.truncSeq !== after.truncSeq);
    }
    if (kindOf(k) === "S") this.#note(key.inode(idIn(k)), true);
    if (kindOf(k) === "E") this.#note(k as Key<"E">, false);
    this.tx.put(k, row);
  }

  del(k: Key): void {
    if (kindOf(k) === "I" || kindOf(k) === "E") this.#note(k as LeaseKey, true);
    if (kindOf(k) === "S") this.#note(key.inode(idIn(k)), true);
    this.tx.del(k);
  }

  changed(): ReadonlyMap<LeaseKey, boolean> {
    return this.#changed;
  }

  #note(k: LeaseKey, data: boolean): void {
    this.#changed.set(k, data || this.#changed.get(k) === true);
  }
}

/** The file that an answer opens. */
function openedBy(op: OpName, args: unknown, result: unknown): number | undefined {
  const opens = op === "open" || (op === "make" && (args as OpArgs<"make">).open);
  return opens ? (result as { attr?: Attr }).attr?.ino : undefined;
}

function shareOf(ino: number): Recall {
  return { number: 0, inodes: [{ ino, data: false, shared: true }], entries: [] };
}
