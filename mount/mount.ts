import { hostname } from "node:os";
import { collectForBigMessages } from "../daemon/common/engine.js";
import { serveHttp, type HttpServer } from "../daemon/common/http.js";
import { OperationTimes, processRegistry } from "../daemon/common/metrics.js";
import type { Running } from "../daemon/common/running.js";
import { openClient, type ClientOptions } from "./client.js";
import { chooseDriver } from "./driver.js";
import type { Estate } from "./estate.js";
import { loadAddon } from "./kernel/addon.js";
import { mountKernel, type KernelMount } from "./kernel/mount.js";
import { prepareMountpoint } from "./kernel/mountpoint.js";
import { loadFuseNative } from "./native/binding.js";
import { mountNative } from "./native/mount.js";
import type { MountOptions } from "./options.js";
import type { MetaClient } from "./vfs/ports.js";

/**
 * Shows the cluster as a folder. StartupError when it cannot (the mount point, the daemon, the key, the port for HTTP);
 * nothing is left behind then. `ended` resolves when the folder was unmounted by somebody; stop() unmounts it.
 */
export async function startMount(opts: MountOptions): Promise<Running> {
  const { clock, log, readOnly, allowOther, keeper } = opts;
  const estate = keeper?.estate;
  const { driver, warning } = chooseDriver(opts.driver, { own: loadAddon, "fuse-native": loadFuseNative });
  if (warning !== undefined) log.warn({ driver }, warning);
  collectForBigMessages();
  const mountpoint = estate?.kernel.folder ?? (await prepareMountpoint(opts.mountpoint, { log, clock }));
  const registry = processRegistry();
  const undo: (() => Promise<void>)[] = [];
  const release = async () => {
    let failure: unknown;
    for (const step of undo.splice(0).reverse()) await step().catch((error: unknown) => (failure ??= error));
    if (failure !== undefined) throw failure as Error;
  };
  try {
    const name = `${hostname()}:${mountpoint}`;
    const client = await openClient({ ...opts, ...bequests(opts), name, permissions: "kernel", registry });
    undo.push(() => client.stop());
    const { fs, meta } = client;
    const { volume } = meta.volume;
    const times = new OperationTimes({ clock, log, registry }, "mount");
    const onOperation = (op: string, seconds: number, errno: string | undefined) =>
      times.note(op, seconds * 1000, errno);
    const common = { mountpoint, allowOther, readOnly, log, clock, onOperation };
    const inherits = estate && { ...estate, successor: client.fs.heir };
    const onMounted = keeper && ((fd: number, left: Estate["kernel"]) => keeper.keep(fd, left));
    const mount = () =>
      driver === "own" ? mountKernel(fs, { ...common, inherits, onMounted }) : mountNative(fs, { ...common, registry });
    // At once, before the metadata daemon is there to ask anything of it.
    const takenOver = inherits && (await mount());
    const http = await serve(opts, { registry, meta, mountpoint });
    if (http !== undefined) undo.push(() => http.stop());
    const kernel = takenOver ?? (await mount());
    log.info({ mountpoint, volume, driver, http: http?.listen }, "mounted");
    return new RunningMount(mountpoint, warning, kernel, release);
  } catch (error) {
    await release().catch((reason: unknown) => log.error({ err: reason }, "not everything was released"));
    throw error;
  }
}

/** What of the client is left to another process. */
function bequests({ keeper }: MountOptions): Pick<ClientOptions, "inherits" | "onSession" | "onLocked"> {
  if (keeper === undefined) return {};
  return {
    ...(keeper.estate === undefined ? {} : { inherits: keeper.estate }),
    onSession: (session) => keeper.tell({ session }),
    onLocked: (ino, isLocked) => keeper.tell({ locked: ino, isLocked }),
  };
}

class RunningMount implements Running {
  readonly ended: Promise<Error | undefined>;

  constructor(
    readonly listen: string,
    readonly warning: string | undefined,
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
