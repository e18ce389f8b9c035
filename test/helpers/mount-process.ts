import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { systemClock } from "../../daemon/common/clock.js";
import { Registry } from "../../daemon/common/metrics.js";
import { StartupError } from "../../daemon/common/running.js";
import { FsError, type Errno } from "../../proto/errno.js";
import { nameOf } from "../../proto/name.js";
import type { Driver } from "../../mount/driver.js";
import { mountKernel, type KernelMount } from "../../mount/kernel/mount.js";
import { mountNative } from "../../mount/native/mount.js";
import type { FileSystem } from "../../mount/vfs/filesystem.js";
import { MemoryFileSystem } from "./memory-filesystem.js";

/** How the child serves. */
export interface MountSettings {
  readonly mountpoint: string;
  /** Default: own. */
  readonly driver?: Driver;
  readonly attrMs?: number;
  readonly entryMs?: number;
  readonly readOnly?: boolean;
  readonly allowOther?: boolean;
  /** false: through fusermount3. */
  readonly privileged?: boolean;
  /** Every answer comes in a later turn of the loop. */
  readonly later?: boolean;
}

/** What the test may ask of the child while it serves. */
export interface Commands {
  unmount: { ask: Record<never, never>; answer: undefined };
  census: { ask: Record<never, never>; answer: ReturnType<MemoryFileSystem["census"]> };
  /** Calls of each operation so far, and names and errnos of finished ones. */
  counts: { ask: Record<never, never>; answer: Record<string, number> };
  /** Answers of the operation wait until letGo. */
  hold: { ask: { operation: string }; answer: undefined };
  held: { ask: Record<never, never>; answer: number };
  letGo: { ask: Record<never, never>; answer: undefined };
  /** The operation throws this FsError, or without it something else, from now on. */
  break: { ask: { operation: string; errno?: Errno }; answer: undefined };
  mend: { ask: Record<never, never>; answer: undefined };
  /** Changes content, mode or name where the kernel does not see it. */
  rewrite: { ask: { path: string; text: string }; answer: undefined };
  renameBehind: { ask: { from: string; into: string }; answer: undefined };
  dropAttributes: { ask: { path: string }; answer: undefined };
  dropData: { ask: { path: string }; answer: undefined };
  /** The name of a child of the root. */
  dropEntry: { ask: { name: string; isFolder?: boolean }; answer: undefined };
  dropAllEntries: { ask: Record<never, never>; answer: boolean };
}

type Ask = { [K in keyof Commands]: { id: number; command: K } & Commands[K]["ask"] }[keyof Commands];

/** A child process that serves a memory filesystem on a mount. */
export class MountProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #nextId = 1;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", (message: { id: number; value?: never; error?: string }) => {
      const waiter = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error === undefined) waiter?.resolve(message.value as never);
      else waiter?.reject(new Error(message.error));
    });
    child.on("exit", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the mount process has ended"));
      this.#waiting.clear();
    });
  }

  /** Resolves when the mount can be used; rejects with what the StartupError said. */
  static async start(settings: MountSettings): Promise<MountProcess> {
    const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(settings)], { stdio: "inherit" });
    const process = new MountProcess(child);
    await new Promise<void>((resolve, reject) => {
      process.#waiting.set(0, { resolve: () => resolve(), reject });
    });
    return process;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  ask<K extends keyof Commands>(command: K, args: Commands[K]["ask"]): Promise<Commands[K]["answer"]> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, command, ...args });
    });
  }

  /** The exit code, when it has ended by itself. */
  async exited(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "exit");
    return this.#child.exitCode;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited();
  }

  /** Unmounts and ends it, if it still lives. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    await this.ask("unmount", {}).catch(() => undefined);
    await this.exited();
  }
}

/** What of tap is needed here. */
interface Scope {
  teardown(fn: () => Promise<void>): void;
}

/** A folder of the test's own. */
export async function ownFolder(t: Scope): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "bigfs-test-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A mount of the test's own, which goes with the test. */
export async function ownMount(t: Scope, settings: Partial<MountSettings> = {}): Promise<[string, MountProcess]> {
  const mountpoint = settings.mountpoint ?? (await ownFolder(t));
  const server = await MountProcess.start({ ...settings, mountpoint });
  t.teardown(() => server.stop());
  return [mountpoint, server];
}

/** Stands between the adapter and the filesystem: counts, holds, breaks, delays. */
class Controls {
  readonly counts: Record<string, number> = {};
  readonly #holding = new Set<string>();
  readonly #broken = new Map<string, Errno | undefined>();
  readonly #held: (() => void)[] = [];

  constructor(readonly later: boolean) {}

  get held(): number {
    return this.#held.length;
  }

  hold(operation: string): void {
    this.#holding.add(operation);
  }

  letGo(): void {
    this.#holding.clear();
    for (const go of this.#held.splice(0)) go();
  }

  break(operation: string, errno: Errno | undefined): void {
    this.#broken.set(operation, errno);
  }

  mend(): void {
    this.#broken.clear();
  }

  wrap(fs: FileSystem): FileSystem {
    return new Proxy(fs, {
      get: (target, key: keyof FileSystem) => {
        const member: unknown = Reflect.get(target, key);
        if (typeof member !== "function") return member;
        const call = member.bind(target) as (...args: unknown[]) => unknown;
        if (key === "attach" || key === "forget" || key === "drain") return call;
        return (...args: unknown[]) => this.#call(key, () => call(...args));
      },
    });
  }

  #call(operation: string, call: () => unknown): unknown {
    this.counts[operation] = (this.counts[operation] ?? 0) + 1;
    const errno = this.#broken.get(operation);
    if (errno !== undefined) throw new FsError(errno);
    if (this.#broken.has(operation)) throw new TypeError(`${operation} is broken`);
    // Arguments that are only valid during the call are used in it; only the answer is late.
    const result = call();
    if (this.#holding.has(operation)) return new Promise<void>((go) => this.#held.push(go)).then(() => result);
    if (!this.later) return result;
    return new Promise((resolve) => setImmediate(resolve)).then(() => result);
  }
}

async function serve(settings: MountSettings): Promise<void> {
  const fs = new MemoryFileSystem(settings);
  const controls = new Controls(settings.later ?? false);
  const options = {
    readOnly: false,
    allowOther: false,
    ...settings,
    log: pino({ level: process.env["TEST_LOG"] ?? "fatal" }, pino.destination(2)),
    clock: systemClock,
    poison: true,
    onOperation: (name: string, seconds: number, errno: string | undefined) => {
      if (!(seconds >= 0)) throw new RangeError(`${name} took ${seconds}`);
      const key = `${name}:${errno ?? "ok"}`;
      controls.counts[key] = (controls.counts[key] ?? 0) + 1;
    },
  };
  const wrapped = controls.wrap(fs);
  const mount = await (settings.driver === "fuse-native"
    ? mountNative(wrapped, { ...options, registry: new Registry() })
    : mountKernel(wrapped, options));
  const answers = new Set<Promise<unknown>>();
  process.on("message", (ask: Ask) => {
    const answer = obey(ask, { fs, controls, mount }).then(
      (value) => process.send?.({ id: ask.id, value }),
      (error: unknown) => process.send?.({ id: ask.id, error: String(error) }),
    );
    answers.add(answer);
    void answer.finally(() => answers.delete(answer));
  });
  process.send?.({ id: 0 });
  const error = await mount.ended;
  if (error !== undefined) console.error(error);
  process.exitCode = error === undefined && fs.drained ? 0 : 1;
  await Promise.all(answers);
  if (process.connected) process.disconnect();
}

async function obey(ask: Ask, parts: { fs: MemoryFileSystem; controls: Controls; mount: KernelMount }) {
  const { fs, controls, mount } = parts;
  const root = { uid: 0, gid: 0, pid: 0 };
  const kernel = fs.kernel;
  if (kernel === undefined) throw new Error("not attached");
  switch (ask.command) {
    case "unmount":
      return mount.unmount();
    case "census":
      return fs.census();
    case "counts":
      return controls.counts;
    case "hold":
      return controls.hold(ask.operation);
    case "held":
      return controls.held;
    case "letGo":
      return controls.letGo();
    case "break":
      return controls.break(ask.operation, ask.errno);
    case "mend":
      return controls.mend();
    case "rewrite": {
      const flags = { read: false, write: true, append: false, truncate: true, sync: false };
      const { handle } = fs.open(root, fs.inoOf(ask.path), flags);
      fs.write(handle, 0, Buffer.from(ask.text));
      return fs.release(handle);
    }
    case "renameBehind": {
      const [fromName, intoName] = [ask.from, ask.into].map((name) => nameOf(Buffer.from(name))) as [never, never];
      return fs.rename(root, { fromDir: 1, intoDir: 1, fromName, intoName, noReplace: false, exchange: false });
    }
    case "dropAttributes":
      return kernel.dropAttributes(fs.inoOf(ask.path));
    case "dropData":
      return kernel.dropData(fs.inoOf(ask.path), 0, 0);
    case "dropEntry":
      return kernel.dropEntry(1, nameOf(Buffer.from(ask.name)), ask.isFolder ?? false);
    case "dropAllEntries":
      return kernel.dropAllEntries();
  }
}

const [, script, settings] = process.argv;
if (script === fileURLToPath(import.meta.url) && settings !== undefined) {
  serve(JSON.parse(settings) as MountSettings).catch((error: unknown) => {
    const text = error instanceof StartupError ? `${error.message} | ${error.hint}` : String(error);
    process.send?.({ id: 0, error: text }, () => process.disconnect());
  });
}
