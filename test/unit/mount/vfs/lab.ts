import { pino } from "pino";
import { Registry } from "prom-client";
import { DEADLINES, type Deadlines } from "../../../../daemon/common/deadlines.js";
import { type Errno, FsError } from "../../../../proto/errno.js";
import { type Name, nameOf } from "../../../../proto/name.js";
import type { Caller, KernelCache, Maybe, OpenFlags } from "../../../../mount/vfs/filesystem.js";
import { Vfs } from "../../../../mount/vfs/vfs.js";
import { Chance } from "../../../helpers/chance.js";
import type { FakeChunkClient } from "../../../helpers/fake-chunk-client.js";
import { FakeNodes } from "../../../helpers/fake-chunk-client.js";
import { FakeClock, settle } from "../../../helpers/fake-clock.js";
import { FakeCluster, type FakeMetaClient } from "../../../helpers/fake-meta-client.js";

export const WHO: Caller = { uid: 0, gid: 0, pid: 1 };

export const CHUNK = 64 * 1024;

export function flags(change: Partial<OpenFlags> = {}): OpenFlags {
  return { read: true, write: true, append: false, truncate: false, sync: false, ...change };
}

export function name(text: string): Name {
  return nameOf(Buffer.from(text));
}

/** What the kernel was told. */
export class FakeKernel implements KernelCache {
  readonly told: string[] = [];
  /** Notifications wait for this while it is there. */
  gate: Promise<void> | undefined;

  dropAttributes(ino: number): Promise<void> {
    return this.#tell(`attributes ${ino}`);
  }

  dropData(ino: number): Promise<void> {
    return this.#tell(`data ${ino}`);
  }

  dropEntry(dir: number, entry: Name): Promise<void> {
    return this.#tell(`entry ${dir} ${entry}`);
  }

  dropAllEntries(): boolean {
    this.told.push("all entries");
    return true;
  }

  async #tell(what: string): Promise<void> {
    this.told.push(what);
    await this.gate;
  }
}

export interface MountOptions {
  readonly cacheBytes?: number;
  readonly idleInodes?: number;
  readonly dirtyBytes?: number;
  readonly readOnly?: boolean;
  readonly deadlines?: Partial<Deadlines>;
}

/** One mount of the lab's cluster. */
export interface Mount {
  readonly vfs: Vfs;
  readonly kernel: FakeKernel;
  readonly meta: FakeMetaClient;
  readonly chunks: FakeChunkClient;
  readonly registry: Registry;
}

/** A cluster in memory whose time passes only while somebody waits. */
export class Lab {
  readonly clock = new FakeClock();
  readonly nodes: FakeNodes;
  readonly cluster: FakeCluster;
  readonly chance: Chance;

  constructor(
    opts: { seed?: number; nodes?: number; replicas?: number; minReplicas?: number; chunkSize?: number } = {},
  ) {
    const { seed = 1, nodes = 3, chunkSize = CHUNK, ...volume } = opts;
    this.chance = new Chance(seed);
    this.nodes = new FakeNodes(nodes);
    const parts = { clock: this.clock, nodes: this.nodes, chance: this.chance };
    this.cluster = new FakeCluster(parts, { chunkSize, ...volume });
  }

  mount(opts: MountOptions = {}): Mount {
    const { meta, chunks } = this.cluster.connect();
    const registry = new Registry();
    const { cacheBytes = 1 << 20, idleInodes = 0, dirtyBytes = 1 << 20, readOnly = false } = opts;
    const deadlines = { ...DEADLINES, ...opts.deadlines };
    const parts = { meta, chunks, clock: this.clock, log: pino({ level: "silent" }), registry };
    const vfs = new Vfs(parts, { cacheBytes, idleInodes, dirtyBytes, readOnly, permissions: "kernel", deadlines });
    const kernel = new FakeKernel();
    vfs.attach(kernel);
    return { vfs, kernel, meta, chunks, registry };
  }

  /** Waits for the work, letting time pass when nothing else happens. */
  async end<T>(work: Maybe<T>): Promise<T> {
    let isOver = false;
    const over = (): void => {
      isOver = true;
    };
    if (work instanceof Promise) work.then(over, over);
    else over();
    for (let turn = 0; !isOver; turn++) {
      if (turn > 20_000) throw new Error("this never ends");
      if (turn < 40) await settle(1);
      else await this.clock.advance(25);
    }
    return work;
  }

  /** The errno that the work ends with; "" when it succeeds. */
  async errno(work: () => Maybe<unknown>): Promise<Errno | ""> {
    try {
      await this.end(work());
      return "";
    } catch (error) {
      if (error instanceof FsError) return error.errno;
      throw error;
    }
  }

  /** A new file in the root folder, open. */
  async create(mount: Mount, text: string, change: Partial<OpenFlags> = {}): Promise<{ ino: number; handle: number }> {
    const opened = await this.end(
      mount.vfs.create(WHO, mount.vfs.root, name(text), 0o644, 0, { ...flags(change), exclusive: false }),
    );
    return { ino: opened.attr?.ino ?? 0, handle: opened.handle };
  }

  async lookup(mount: Mount, text: string): Promise<number> {
    const found = await this.end(mount.vfs.lookup(WHO, mount.vfs.root, name(text)));
    return found.attr?.ino ?? 0;
  }

  /** As open, read and close would: what a program sees now. */
  async content(mount: Mount, ino: number): Promise<Buffer> {
    const { vfs } = mount;
    const { handle } = await this.end(vfs.open(WHO, ino, flags({ write: false })));
    const parts: Buffer[] = [];
    for (let off = 0; ;) {
      const part = Buffer.from(await this.end(vfs.read(handle, off, 50_000)));
      if (part.length === 0) break;
      parts.push(part);
      off += part.length;
    }
    await this.close(mount, handle);
    return Buffer.concat(parts);
  }

  async write(mount: Mount, handle: number, off: number, data: Buffer): Promise<void> {
    const given = Buffer.from(data);
    const work = mount.vfs.write(handle, off, given);
    // The kernel's buffer is the kernel's again.
    given.fill(0xdb);
    await this.end(work);
  }

  async close(mount: Mount, handle: number): Promise<void> {
    try {
      await this.end(mount.vfs.flush(handle));
    } finally {
      await this.end(mount.vfs.release(handle));
    }
  }
}

/** Bytes that tell where they come from. */
export function pattern(length: number, seed: number): Buffer {
  const data = Buffer.alloc(length);
  for (let i = 0; i < length; i++) data[i] = ((i * 31 + seed * 17 + (i >> 8)) % 255) + 1;
  return data;
}

/** How often a property is tried. BIGFS_RUNS asks for more, BIGFS_SEED repeats one (fast-check says which). */
export function runs(few: number): { numRuns: number; seed?: number } {
  const { BIGFS_RUNS: many, BIGFS_SEED: seed } = process.env;
  return { numRuns: many === undefined ? few : Number(many), ...(seed === undefined ? {} : { seed: Number(seed) }) };
}

/** Whether it does not end by itself. */
export async function isWaiting(work: unknown): Promise<boolean> {
  let isOver = false;
  Promise.resolve(work).then(
    () => (isOver = true),
    () => (isOver = true),
  );
  await settle(300);
  return !isOver;
}
