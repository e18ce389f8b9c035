import { createRequire } from "node:module";
import { constants } from "node:os";
import { StartupError } from "../../daemon/common/running.js";

/** Wakes the thread that waits for the answer. A second call for one question would wake it in the middle of another. */
export type Signal = (result: number, ...values: unknown[]) => void;

/** The thread's own record in the addon's memory comes first: also what the addon forgets to pass stands in it. */
type Handler = (thread: Buffer, opcode: number, ...args: unknown[]) => void;

/** An instance of fuse-native 2.2.6, with the members that its own code calls by name. */
export interface FuseNative {
  mount(done: (error?: Error | null) => void): void;
  /** The option for libfuse, with its -o. */
  _fuseOptions: () => string;
  readonly _thread: Buffer | null;
  _handlers: readonly Handler[];
  [operation: `_op_${string}`]: (signal: Signal, ...args: unknown[]) => void;
}

interface Package {
  readonly Fuse: new (mountpoint: string, operations: object, opts: object) => FuseNative;
  /** Lets the event loop end when nothing else keeps it. */
  readonly release: (mountpoint: string, thread: Buffer) => void;
}

/** dlopen(3): the library stays when its handle is closed. */
const RTLD_NODELETE = 0x1000;

let loaded: Package | undefined;

/** The package; a StartupError that says what is missing when it cannot be loaded. */
export function loadFuseNative(): Package {
  loaded ??= load(createRequire(import.meta.url));
  return loaded;
}

function load(require: NodeJS.Require): Package {
  try {
    const inside = createRequire(require.resolve("fuse-native"));
    return withLibrary(inside, () => {
      const Fuse = require("fuse-native") as Package["Fuse"];
      const find = inside("node-gyp-build") as (folder: string) => {
        fuse_native_unmount: Package["release"];
      };
      const addon = find(inside.resolve("./package.json").replace(/[/\\]package\.json$/, ""));
      return { Fuse, release: (mountpoint, thread) => addon.fuse_native_unmount(mountpoint, thread) };
    });
  } catch (cause) {
    throw new StartupError("the package fuse-native cannot be loaded", {
      hint: "install libfuse 2 (Debian: apt-get install libfuse2), then run npm ci",
      cause,
    });
  }
}

/** The addon needs libfuse.so.2, which many systems do not have; the package brings one but does not look for it there. */
function withLibrary<T>(inside: NodeJS.Require, attempt: () => T): T {
  try {
    return attempt();
  } catch (error) {
    const { lib } = inside("fuse-shared-library") as { lib: string };
    try {
      process.dlopen({ exports: {} }, lib, constants.dlopen.RTLD_NOW | RTLD_NODELETE);
    } catch {
      // Always: it is no addon. Where it was loaded, it is there from now on.
    }
    try {
      return attempt();
    } catch {
      throw error;
    }
  }
}
