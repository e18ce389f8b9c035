import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import type { Test } from "tap";
import { systemClock } from "../../../daemon/common/clock.js";
import { DEADLINES, type Deadlines } from "../../../daemon/common/deadlines.js";
import { createLog } from "../../../daemon/common/log.js";
import type { Running } from "../../../daemon/common/running.js";
import { startMeta } from "../../../daemon/meta/daemon.js";
import { startStore } from "../../../daemon/store/daemon.js";
import type { StoreOptions } from "../../../daemon/store/options.js";
import { connectMeta } from "../../../mount/clients/meta-client.js";
import { StoreClients } from "../../../mount/clients/store-clients.js";
import type { Caller, OpenFlags } from "../../../mount/vfs/filesystem.js";
import type { MetaClient } from "../../../mount/vfs/ports.js";
import { Vfs } from "../../../mount/vfs/vfs.js";
import { nameOf, type Name } from "../../../proto/name.js";

export const KEY = Buffer.alloc(32, 5);
export const WHO: Caller = { uid: 0, gid: 0, pid: 1 };
export const RW: OpenFlags = { read: true, write: true, append: false, truncate: false, sync: false };
export const RO: OpenFlags = { ...RW, write: false };
const CHUNK_SIZE = 256 * 1024;
const MIB = 1024 * 1024;

export const name = (text: string): Name => nameOf(Buffer.from(text));

export interface Client {
  readonly fs: Vfs;
  readonly meta: MetaClient;
  stop(): Promise<void>;
  /** Another client of the same kind. */
  again(): Promise<Client>;
}

/** A metadata daemon and storage daemons in this process, and clients without a kernel. */
export class Lab {
  readonly stores: Running[] = [];
  readonly deadlines: Deadlines;
  readonly #log = createLog("lab", process.env["LAB_LOG"] ?? "silent");
  meta!: Running;

  private constructor(
    private readonly t: Test,
    readonly dir: string,
    deadlines: Partial<Deadlines>,
    private readonly backupKeep: number,
  ) {
    this.deadlines = { ...DEADLINES, ioDeadlineMs: 20_000, syncMs: 100, heartbeatMs: 200, ...deadlines };
  }

  static async start(
    t: Test,
    opts: { stores?: number; deadlines?: Partial<Deadlines>; backupKeep?: number } = {},
  ): Promise<Lab> {
    const dir = await mkdtemp(join(tmpdir(), "bigfs-client-"));
    t.teardown(() => rm(dir, { recursive: true, force: true }));
    const lab = new Lab(t, dir, opts.deadlines ?? {}, opts.backupKeep ?? 0);
    await lab.startMeta("127.0.0.1:0");
    for (let i = 0; i < (opts.stores ?? 3); i++) lab.stores.push(await lab.startStore(i, "127.0.0.1:0"));
    return lab;
  }

  async startMeta(listen: string, folder = "meta"): Promise<void> {
    const { deadlines } = this;
    const create = { chunkSize: CHUNK_SIZE, replicas: 2, minReplicas: 2 };
    const common = { key: KEY, deadlines, log: this.#log, clock: systemClock };
    this.meta = await startMeta({
      ...common,
      data: join(this.dir, folder),
      listen,
      create,
      backupKeep: this.backupKeep,
    });
    const { meta } = this;
    this.t.teardown(() => meta.stop());
  }

  async startStore(index: number, listen: string, more: Partial<StoreOptions> = {}): Promise<Running> {
    const { deadlines } = this;
    const common = { key: KEY, deadlines, log: this.#log, clock: systemClock };
    const data = join(this.dir, `store${index}`);
    const store = await startStore({
      ...common,
      data,
      meta: this.meta.listen,
      listen,
      zone: `zone${index}`,
      reserve: 0,
      ...more,
    });
    this.t.teardown(() => store.stop());
    return store;
  }

  async client({ permissions = "kernel" }: { permissions?: "kernel" | "rules" } = {}): Promise<Client> {
    const { deadlines } = this;
    const common = { key: KEY, deadlines, clock: systemClock, log: this.#log };
    const meta = await connectMeta({ ...common, address: this.meta.listen, name: "lab", readOnly: false });
    const chunks = new StoreClients({ ...common, map: () => meta.map, volume: meta.volume.volume });
    const registry = new Registry();
    const fs = new Vfs(
      { meta, chunks, clock: systemClock, log: this.#log, registry },
      { cacheBytes: 4 * MIB, idleInodes: 100, dirtyBytes: 4 * MIB, readOnly: false, permissions, deadlines },
    );
    let stopped: Promise<void> | undefined;
    const stop = () =>
      (stopped ??= (async () => {
        await meta.stop();
        await chunks.stop();
      })());
    this.t.teardown(stop);
    return { fs, meta, stop, again: () => this.client({ permissions }) };
  }
}

/** Creates a file in the root with these bytes and closes it. */
export async function writeFile({ fs }: Client, file: string, data: Buffer): Promise<number> {
  const made = await fs.create(WHO, fs.root, name(file), 0o644, 0, { ...RW, exclusive: true });
  for (let off = 0; off < data.length; off += 100_000) {
    await fs.write(made.handle, off, Buffer.from(data.subarray(off, off + 100_000)));
  }
  await fs.flush(made.handle);
  await fs.release(made.handle);
  return made.attr?.ino ?? 0;
}

/** All bytes of a file of the root, read in pieces. */
export async function readFile({ fs }: Client, file: string): Promise<Buffer> {
  const found = await fs.lookup(WHO, fs.root, name(file));
  if (found.attr === undefined) throw new Error(`${file} is not there`);
  const { handle } = await fs.open(WHO, found.attr.ino, RO);
  const parts: Buffer[] = [];
  for (let off = 0; ;) {
    const part = await fs.read(handle, off, 128 * 1024);
    if (part.length === 0) break;
    parts.push(Buffer.from(part));
    off += part.length;
  }
  await fs.release(handle);
  return Buffer.concat(parts);
}
