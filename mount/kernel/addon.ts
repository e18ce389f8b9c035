import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { StartupError } from "../../daemon/common/running.js";

/** What addon/*.c exports. Numbers are what the system call returned, or -errno. */
export interface Addon {
  /** Opens /dev/fuse without blocking. */
  open(): number;
  close(fd: number): number;
  read(fd: number, into: Buffer): number;
  write(fd: number, head: Buffer, length: number, body: Buffer): number;
  /** Calls back whenever the descriptor is readable, until unwatch. */
  watch(fd: number, readable: (status: number) => void): WatchHandle;
  unwatch(handle: WatchHandle): void;
  mount(source: string, target: string, type: string, readOnly: 0 | 1, data: string): number;
  socketPair(): [mine: number, theirs: number] | number;
  receiveDescriptor(socket: number): number;
  sendDescriptor(socket: number, fd: number): number;
  /** Threads for what may block; the numbers bound the threads of each lane. */
  startWorkers(done: (id: number, result: number) => void, lane0: number, lane1: number, lane2: number): WorkersHandle;
  workerWrite(workers: WorkersHandle, lane: number, id: number, fd: number, message: Buffer): number;
  /** mode: 0 plain, 1 lazily (MNT_DETACH), 2 MNT_FORCE. */
  workerUnmount(workers: WorkersHandle, lane: number, id: number, path: string, mode: 0 | 1 | 2): number;
  stopWorkers(workers: WorkersHandle): void;
}

declare const watch: unique symbol;
declare const workers: unique symbol;
export interface WatchHandle {
  readonly [watch]: never;
}
export interface WorkersHandle {
  readonly [workers]: never;
}

const BUILT = join("mount", "kernel", "addon", "build", "Release", "fuse.node");

/** The folder of the nearest package.json above this file: sources and compiled files lie at different depths. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

let loaded: Addon | undefined;

/** The compiled addon; a StartupError that says how to build it when it is not there. */
export function loadAddon(): Addon {
  loaded ??= loadFrom(packageRoot());
  return loaded;
}

/** For what can be done without it, too. */
export function addonIfBuilt(): Addon | undefined {
  try {
    return loadAddon();
  } catch {
    return undefined;
  }
}

export function loadFrom(root: string): Addon {
  const file = join(root, BUILT);
  try {
    return createRequire(import.meta.url)(file) as Addon;
  } catch (cause) {
    throw new StartupError(`the kernel binding ${file} cannot be loaded`, {
      hint: `build it with ${join(root, "scripts", "build")} (needs make, a C compiler and python3)`,
      cause,
    });
  }
}
