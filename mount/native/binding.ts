import { createRequire } from "node:module";
import { constants } from "node:os";
import { StartupError } from "../../daemon/common/running.js";

/** Wakes the thread that waits for the answer. A second call for one question would wake it in the middle of another. */
export type Signal = (result: number, ...values: unknown[]) => void;

/** The thread's own record in the addon's memory comes first: also what the addon forgets to pass stands in it. */
type Handler = (thread: Buffer, opcode: number, ...args: unknown[]) => void;

/** An instance of fuse-native 2.2.6, with the members that its own code calls by name. */
export interface FuseNative {
  /** Called when the kernel has said hello. */
  _openCallback: (() => void) | null;
  /** What the addon works with as long as this process lives. */
  _thread: Buffer | null;
  readonly _malloc: (size: number) => Buffer;
  readonly _getImplementedArray: () => Uint32Array;
  _handlers: readonly Handler[];
  [operation: `_op_${string}`]: (signal: Signal, ...args: unknown[]) => void;
}

interface Package {
  readonly Fuse: new (mountpoint: string, operations: object, opts: object) => FuseNative;
  readonly addon: Addon;
}

interface Addon {
  /** Bytes of what the other two call its thread. */
  readonly sizeof_fuse_thread_t: number;
  /** `options` is the option for libfuse, with its -o. Throws when libfuse cannot mount. */
  fuse_native_mount(
    mountpoint: string,
    options: string,
    thread: Buffer,
    fuse: FuseNative,
    malloc: FuseNative["_malloc"],
    handlers: readonly Handler[],
    implemented: Uint32Array,
  ): void;
  /** Lets the event loop end when nothing else keeps it. */
  fuse_native_unmount(mountpoint: string, thread: Buffer): void;
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
      const find = inside("node-gyp-build") as (folder: string) => Addon;
      return { Fuse, addon: find(inside.resolve("./package.json").replace(/[/\\]package\.json$/, "")) };
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
