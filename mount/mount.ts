import { hostname } from "node:os";
import { collectForBigMessages } from "../daemon/common/engine.js";
import { serveHttp, type HttpServer } from "../daemon/common/http.js";
import { OperationTimes, processRegistry } from "../daemon/common/metrics.js";
import { StartupError, type Running } from "../daemon/common/running.js";
import { FsError } from "../proto/errno.js";
import { connectMeta } from "./clients/meta-client.js";
import { StoreClients } from "./clients/store-clients.js";
import { mountKernel, type KernelMount } from "./kernel/mount.js";
import { prepareMountpoint } from "./kernel/mountpoint.js";
import type { MountOptions } from "./options.js";
import type { MetaClient } from "./vfs/ports.js";
import { Vfs } from "./vfs/vfs.js";

const CACHE_BYTES = 64 * 1024 * 1024;
const DIRTY_BYTES = 64 * 1024 * 1024;
const IDLE_INODES = 20_000;

/**
 * Shows the cluster as a folder. StartupError when it cannot (the mount point, the daemon, the key, the port for HTTP);
 * nothing is left behind then. `ended` resolves when the folder was unmounted by somebody; stop() unmounts it.
 */
export async function startMount(opts: MountOptions): Promise<Running> {
  const { key, deadlines, clock, log, readOnly, allowOther } = opts;
  collectForBigMessages();
  const mountpoint = await prepareMountpoint(opts.mountpoint, { log, clock });
  const registry = processRegistry();
  const undo: (() => Promise<void>)[] = [];
  const release = async () => {
    let failure: unknown;
    for (const step of undo.splice(0).reverse()) await step().catch((error: unknown) => (failure ??= error));
    if (failure !== undefined) throw failure as Error;
  };
  try {
    const meta = await connect(opts, mountpoint);
    undo.push(() => meta.stop());
    const { volume } = meta.volume;
    const { shortCircuit = true } = opts;
    const chunks = new StoreClients({ map: () => meta.map, key, volume, clock, log, deadlines, shortCircuit });
    undo.push(() => chunks.stop());
    const sizes = {
      idleInodes: IDLE_INODES,
      cacheBytes: opts.cacheBytes ?? CACHE_BYTES,
      dirtyBytes: opts.dirtyBytes ?? DIRTY_BYTES,
    };
    const fs = new Vfs({ meta, chunks, clock, log, registry }, { ...sizes, readOnly, deadlines });
    const http = await serve(opts, { registry, meta, mountpoint });
    if (http !== undefined) undo.push(() => http.stop());
    const times = new OperationTimes({ clock, log, registry }, "mount");
    const onOperation = (op: string, seconds: number, errno: string | undefined) =>
      times.note(op, seconds * 1000, errno);
    const kernel = await mountKernel(fs, { mountpoint, allowOther, readOnly, log, clock, onOperation });
    log.info({ mountpoint, volume, http: http?.listen }, "mounted");
    return new RunningMount(mountpoint, kernel, release);
  } catch (error) {
    await release().catch((reason: unknown) => log.error({ err: reason }, "not everything was released"));
    throw error;
  }
}

class RunningMount implements Running {
  readonly ended: Promise<Error | undefined>;

  constructor(
    readonly listen: string,
    private readonly kernel: KernelMount,
    release: () => Promise<void>,
  ) {
    this.ended = kernel.ended.then(async (error) => {
      try {
        await release();
        return error;
      } catch (reason) {
        return error ?? (reason as Error);
      }
    });
  }

  async stop(): Promise<void> {
    await this.kernel.unmount();
    const error = await this.ended;
    if (error !== undefined) throw error;
  }
}

async function connect(opts: MountOptions, mountpoint: string): Promise<MetaClient> {
  const { meta: address, key, readOnly, deadlines, clock, log } = opts;
  try {
    const name = `${hostname()}:${mountpoint}`;
    return await connectMeta({ address, key, name, readOnly, deadlines, clock, log });
  } catch (error) {
    throw error instanceof FsError ? cannotConnect(address, error) : error;
  }
}

function cannotConnect(address: string, cause: FsError): StartupError {
  if (cause.errno === "EACCES") {
    return new StartupError(`the metadata daemon at ${address} has another cluster key`, {
      hint: "give the key file of that cluster with --key FILE (or BIGFS_KEY)",
      cause,
    });
  }
  if (cause.errno === "EPROTO")
    return new StartupError(cause.detail, { hint: "check the address given with --meta", cause });
  return new StartupError(`the metadata daemon at ${address} cannot be reached: ${cause.detail || cause.errno}`, {
    hint: "start it ('bigfsd up', or 'bigfsd meta'), or give its address with --meta HOST:PORT",
    cause,
  });
}

async function serve(
  { http, clock }: MountOptions,
  parts: { registry: ReturnType<typeof processRegistry>; meta: MetaClient; mountpoint: string },
): Promise<HttpServer | undefined> {
  if (http === undefined) return undefined;
  const { registry, meta, mountpoint } = parts;
  const startedMs = clock.monotonicMs();
  const health = () => {
    const leaseLeftMs = Math.round(meta.leaseLeftMs());
    const upSec = Math.round((clock.monotonicMs() - startedMs) / 1000);
    return { ok: leaseLeftMs > 0, detail: { mountpoint, volume: meta.volume.volume, leaseLeftMs, upSec } };
  };
  return serveHttp({ listen: http, registry, health });
}
