import type { Logger } from "pino";
import { stat } from "node:fs/promises";
import type { Clock } from "../../daemon/common/clock.js";
import { StartupError } from "../../daemon/common/running.js";
import type { Estate } from "../estate.js";
import type { FileSystem } from "../vfs/filesystem.js";
import { loadAddon, type Addon } from "./addon.js";
import { KernelNotifier } from "./cache.js";
import { INIT2, type Agreed } from "./codec/init.js";
import { resend } from "./codec/notifications.js";
import { FuseDevice } from "./device.js";
import { Inherited, type Successor } from "./inherited.js";
import { findMount } from "./mountinfo.js";
import { prepareMountpoint } from "./mountpoint.js";
import { openMount } from "./open-mount.js";
import { PendingRequests } from "./pending.js";
import { Session, type OnOperation } from "./session.js";
import { detach, isRoot } from "./unmount.js";
import { Workers } from "./workers.js";

export interface KernelOptions {
  readonly mountpoint: string;
  /** Other users of this machine may enter. */
  readonly allowOther: boolean;
  readonly readOnly: boolean;
  readonly log: Logger;
  readonly clock: Clock;
  /** Called after every answer. */
  readonly onOperation?: OnOperation | undefined;
  /** Mount by ourselves instead of through fusermount3; default: as root. */
  readonly privileged?: boolean;
  /** Overwrite requests after use, so that tests find what was kept of them. */
  readonly poison?: boolean;
  /** Takes over what another process has mounted, instead of mounting. */
  readonly inherits?: Inheritance | undefined;
  /** Called with what it takes to do that, where the kernel can. */
  readonly onMounted?: ((fd: number, kernel: KernelEstate) => void) | undefined;
}

type KernelEstate = Estate["kernel"];

/** A mount whose process has died. */
export interface Inheritance {
  /** /dev/fuse, as it was mounted with. */
  readonly fd: number;
  readonly generation: number;
  readonly kernel: KernelEstate;
  readonly successor: Successor;
}

export interface KernelMount {
  /** Resolves when it is unmounted and the filesystem has drained: undefined in good order. */
  readonly ended: Promise<Error | undefined>;
  /**
   * Unmounts. Programs that still have files open may go on for a second; then their requests fail. Resolves with
   * `ended`.
   */
  unmount(): Promise<void>;
}

/** The kernel says hello right after the mount. */
const HELLO_MS = 10_000;
/** Programs with open files may finish for so long after a lazy unmount. */
const LINGER_MS = 1_000;

/** Mounts `fs`; resolves when it can be used. StartupError: it cannot be mounted, and what to do. */
export async function mountKernel(fs: FileSystem, opts: KernelOptions): Promise<KernelMount> {
  const addon = loadAddon();
  if (opts.inherits !== undefined) {
    const { fd, kernel } = opts.inherits;
    const mount = new Mount(fs, { ...opts, ...kernel, privileged: opts.privileged ?? isRoot(), addon, fd });
    mount.takeOver(kernel);
    return mount;
  }
  const folder = await prepareMountpoint(opts.mountpoint, opts);
  const rootMode = (await stat(folder)).mode;
  const privileged = opts.privileged ?? isRoot();
  const fd = await openMount(addon, { ...opts, folder, rootMode, privileged });
  const mount = new Mount(fs, { ...opts, folder, privileged, addon, fd });
  await mount.start();
  return mount;
}

type MountParts = KernelOptions & {
  readonly folder: string;
  readonly privileged: boolean;
  readonly addon: Addon;
  readonly fd: number;
};

class Mount implements KernelMount {
  readonly ended: Promise<Error | undefined>;
  readonly #fs: FileSystem;
  readonly #parts: MountParts;
  readonly #workers: Workers;
  readonly #device: FuseDevice;
  readonly #pending = new PendingRequests();
  readonly #session: Session;
  #notifier: KernelNotifier | undefined;
  /** The kernel's number of our mount, to know it from another one at the same place. */
  #id: number | undefined;

  constructor(fs: FileSystem, parts: MountParts) {
    this.#fs = fs;
    this.#parts = parts;
    this.#workers = new Workers(parts.addon);
    this.#device = new FuseDevice({ addon: parts.addon, workers: this.#workers }, parts.fd);
    const { clock, log, onOperation, poison, inherits } = parts;
    const generation = inherits?.generation;
    const inherited = inherits && new Inherited(inherits.successor, inherits.generation);
    const cache = { notifications: this.#device, pending: this.#pending };
    this.#session = new Session(
      {
        fs,
        clock,
        log,
        device: this.#device,
        pending: this.#pending,
        cache: (a) => (this.#notifier = new KernelNotifier(cache, a)),
      },
      { onOperation, poison, generation, inherited },
    );
    this.ended = this.#session.ended.then((error) => this.#finish(error));
  }

  async start(): Promise<void> {
    this.#id = (await findMount(this.#parts.folder))?.id;
    this.#device.watch(() => this.#session.wake());
    const cancel = this.#parts.clock.after(HELLO_MS, () => this.#session.end(new Error("the kernel is silent")));
    const started = await Promise.race([this.#session.ready, this.#session.ended]);
    cancel();
    if (started !== undefined && !(started instanceof Error)) return this.#bequeath(started);
    await this.ended;
    throw new StartupError(`mounting ${this.#parts.folder} failed: ${started?.message ?? "it was unmounted at once"}`, {
      hint: "Linux 4.20 or newer is needed; dmesg may say more",
      cause: started,
    });
  }

  /** Names may have been changed by others since they were told; what waits for an answer is asked again. */
  takeOver({ id, agreed }: KernelEstate): void {
    this.#id = id;
    this.#session.resume(agreed);
    this.#notifier?.dropAllEntries();
    const asked = this.#device.notifyNow(resend());
    if (asked < 0) this.#parts.log.error({ errno: -asked }, "the kernel does not ask again");
    this.#device.watch(() => this.#session.wake());
  }

  async unmount(): Promise<void> {
    await this.#detach();
    await this.#within(LINGER_MS, this.#session.ended);
    // A notification that waits for an answer of ours gets it only while we serve.
    await this.#within(LINGER_MS, this.#workers.idle());
    this.#session.end(undefined);
    const error = await this.ended;
    if (error !== undefined) throw error;
  }

  #bequeath(agreed: Agreed): void {
    const { fd, folder, onMounted } = this.#parts;
    // A process that takes over has to have all asked again that it cannot know of.
    if ((agreed.flags2 & INIT2.hasResend) === 0) return;
    onMounted?.(fd, { folder, agreed, ...(this.#id === undefined ? {} : { id: this.#id }) });
  }

  async #finish(cause: Error | undefined): Promise<Error | undefined> {
    this.#device.unwatch();
    let error = cause;
    try {
      await this.#detach();
      await this.#pending.idle();
      await this.#fs.drain();
    } catch (reason) {
      error ??= reason instanceof Error ? reason : new Error(String(reason));
    }
    this.#workers.stop();
    this.#device.close();
    return error;
  }

  /** Takes our mount out of the tree, if it is there. */
  async #detach(): Promise<void> {
    const { folder, privileged, log } = this.#parts;
    const there = await findMount(folder);
    if (there === undefined || there.id !== this.#id) return;
    const busy = await detach(folder, { how: "plain", privileged });
    if (busy === undefined) return;
    log.debug({ err: busy, mountpoint: folder }, "unmounting lazily");
    const failed = await detach(folder, { how: "lazy", privileged });
    if (failed !== undefined) throw failed;
  }

  async #within(ms: number, done: Promise<unknown>): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = this.#parts.clock.after(ms, resolve);
      void done.finally(() => {
        cancel();
        resolve();
      });
    });
  }
}
