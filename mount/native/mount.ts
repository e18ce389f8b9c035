import { readdir, readlink } from "node:fs/promises";
import type { Registry } from "prom-client";
import { StartupError } from "../../daemon/common/running.js";
import { hasProc } from "../../daemon/common/process.js";
import { Task } from "../../daemon/common/tasks.js";
import type { KernelMount, KernelOptions } from "../kernel/mount.js";
import { findMount } from "../kernel/mountinfo.js";
import { prepareMountpoint } from "../kernel/mountpoint.js";
import { detach, isRoot } from "../kernel/unmount.js";
import type { FileSystem, KernelCache } from "../vfs/filesystem.js";
import { Answers, type Operation } from "./answers.js";
import { loadFuseNative, type FuseNative, type Signal } from "./binding.js";
import { libfuseOptions } from "./options.js";
import { OpenTable } from "./open-table.js";
import { attributeOperations } from "./operations/attributes.js";
import type { Context } from "./operations/context.js";
import { fileOperations } from "./operations/files.js";
import { nameOperations } from "./operations/names.js";
import { Paths } from "./paths.js";
import { withMtime } from "./thread-record.js";

export type NativeOptions = Omit<KernelOptions, "privileged" | "poison"> & { readonly registry: Registry };

/** fuse-native keeps this many bytes of the path, and would cut it silently. */
const MOUNTPOINT_MAX = 1023;
/** fuse-native does not tell that the kernel has unmounted. */
const LOOK_MS = 500;
/** Programs with open files may finish for so long after a lazy unmount. */
const LINGER_MS = 1_000;

/** Nothing that could be dropped is in this kernel, but for pages of open files, which it does not let us drop. */
const NO_CACHE: KernelCache = {
  dropAttributes: () => Promise.resolve(),
  dropData: () => Promise.resolve(),
  dropEntry: () => Promise.resolve(),
  dropAllEntries: () => true,
};

/** Mounts `fs` by fuse-native; resolves when it can be used. StartupError: it cannot be mounted, and what to do. */
export async function mountNative(fs: FileSystem, opts: NativeOptions): Promise<KernelMount> {
  const { allowOther, readOnly } = opts;
  const { Fuse, addon } = loadFuseNative();
  const folder = await prepareMountpoint(opts.mountpoint, opts);
  if (Buffer.byteLength(folder) > MOUNTPOINT_MAX) {
    throw new StartupError(`the mount point has more than ${MOUNTPOINT_MAX} bytes`, { hint: "take a shorter path" });
  }
  const who = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, pid: process.pid };
  const table = new OpenTable();
  const context: Context = { fs, who, paths: new Paths(fs, who), table, allowOther };
  const answers = new Answers(opts);
  const operations = { ...attributeOperations(context), ...fileOperations(context), ...nameOperations(context) };
  const fuse = new Fuse(folder, operations, { timeout: false });
  bind(fuse, operations, answers);
  fs.attach(NO_CACHE);
  const others = await openDevices();
  const thread = Buffer.alloc(addon.sizeof_fuse_thread_t);
  await mounted(allowOther, folder, (done) => {
    fuse._openCallback = done;
    fuse._thread = thread;
    const implemented = fuse._getImplementedArray();
    const options = libfuseOptions({ allowOther, readOnly });
    // Its own mount() refuses folders on which something else is mounted, as in containers.
    addon.fuse_native_mount(folder, options, thread, fuse, fuse._malloc, fuse._handlers, implemented);
  });
  const device = (await openDevices()).find((fd) => !others.includes(fd));
  const id = (await findMount(folder))?.id;
  return new NativeMount({
    ...opts,
    fs,
    folder,
    id,
    device,
    answers,
    release: () => addon.fuse_native_unmount(folder, thread),
  });
}

function bind(fuse: FuseNative, operations: Record<string, Operation>, answers: Answers): void {
  for (const [name, operation] of Object.entries(operations)) {
    fuse[`_op_${name}`] = (signal: Signal, ...args: unknown[]) => answers.ask(operation, signal, args);
  }
  withMtime(fuse);
}

async function mounted(allowOther: boolean, folder: string, mount: (done: () => void) => void): Promise<void> {
  try {
    await new Promise<void>((resolve) => mount(resolve));
  } catch (cause) {
    const other = allowOther ? "; --allow-other needs user_allow_other in /etc/fuse.conf" : "";
    throw new StartupError(`mounting at ${folder} by fuse-native failed: ${(cause as Error).message}`, {
      hint: `/dev/fuse (modprobe fuse) and fusermount (Debian: apt-get install fuse3) must be there${other}`,
      cause,
    });
  }
}

type MountParts = NativeOptions & {
  readonly fs: FileSystem;
  readonly folder: string;
  /** The kernel's number of our mount, to know it from another one at the same place. */
  readonly id: number | undefined;
  /** What libfuse has open until the kernel asks no more; unknown where /proc does not show it. */
  readonly device: string | undefined;
  readonly answers: Answers;
  readonly release: () => void;
};

const DESCRIPTORS = "/proc/self/fd";

async function openDevices(): Promise<string[]> {
  const all = hasProc() ? await readdir(DESCRIPTORS) : [];
  const are = await Promise.all(all.map(isDevice));
  return all.filter((_, i) => are[i]);
}

async function isDevice(fd: string): Promise<boolean> {
  return (await readlink(`${DESCRIPTORS}/${fd}`).catch(() => "")) === "/dev/fuse";
}

class NativeMount implements KernelMount {
  readonly ended: Promise<Error | undefined>;
  readonly #parts: MountParts;
  readonly #watch: Task;
  #onEnded: () => void = () => undefined;

  constructor(parts: MountParts) {
    this.#parts = parts;
    const gone = new Promise<void>((resolve) => (this.#onEnded = resolve));
    this.#watch = new Task(parts, { name: "watch-mount", periodMs: LOOK_MS, run: () => this.#look() });
    this.#watch.start();
    this.ended = gone.then(() => this.#finish());
  }

  async unmount(): Promise<void> {
    await this.#detach();
    this.#parts.clock.after(LINGER_MS, this.#onEnded);
    await this.#watch.runOnce();
    const error = await this.ended;
    if (error !== undefined) throw error;
  }

  /** Takes our mount out of the tree, if it is there. */
  async #detach(): Promise<void> {
    const { folder, id, log } = this.#parts;
    const there = await findMount(folder);
    if (there === undefined || there.id !== id) return;
    const privileged = isRoot();
    const busy = await detach(folder, { how: "plain", privileged });
    if (busy === undefined) return;
    log.debug({ err: busy, mountpoint: folder }, "unmounting lazily");
    const failed = await detach(folder, { how: "lazy", privileged });
    if (failed !== undefined) throw failed;
  }

  async #look(): Promise<void> {
    const { device, folder } = this.#parts;
    const isThere = device === undefined ? (await findMount(folder)) !== undefined : await isDevice(device);
    if (!isThere) this.#onEnded();
  }

  async #finish(): Promise<Error | undefined> {
    const { answers, fs, release } = this.#parts;
    try {
      // It is still there when the connection was aborted.
      await this.#detach();
      answers.end();
      await answers.idle();
      await fs.drain();
      return undefined;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    } finally {
      release();
      void this.#watch.stop();
    }
  }
}
