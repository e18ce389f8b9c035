import { constants } from "node:os";
import { systemClock, type Clock } from "../../daemon/common/clock.js";
import { hasProc } from "../../daemon/common/process.js";
import { FsError } from "../../proto/errno.js";
import { addonIfBuilt } from "./addon.js";
import { runFusermount, runUmount } from "./fusermount.js";
import { findMount, MOUNT_TYPE } from "./mountinfo.js";
import { canonicalPath, liveness } from "./place.js";
import { Workers } from "./workers.js";

const { EBUSY, EINVAL, EPERM } = constants.errno;

export interface UnmountOptions {
  /** Takes it away now, also from programs that use it, and lets them finish. */
  readonly lazy?: boolean;
  /** Breaks the connection to the mount's process first, for one that hangs; what it had not stored is lost. */
  readonly force?: boolean;
  /** With mount rights of our own instead of fusermount3; default: as root. */
  readonly privileged?: boolean;
  readonly clock?: Clock;
}

/** Whether BigFS is mounted there, also when the process behind it has died. */
export async function isMounted(mountpoint: string): Promise<boolean> {
  const path = await canonicalPath(mountpoint).catch(() => undefined);
  return path !== undefined && (await findMount(path))?.type === MOUNT_TYPE;
}

/**
 * Unmounts a BigFS; one whose process has died also while programs stand in it. FsError EINVAL: none is mounted there,
 * EBUSY: programs use it, EPERM: not allowed.
 */
export async function unmountPath(mountpoint: string, opts: UnmountOptions = {}): Promise<void> {
  const { lazy = false, force = false, privileged = isRoot(), clock = systemClock } = opts;
  const path = await canonicalPath(mountpoint).catch((cause: unknown) => {
    throw new FsError("EINVAL", `${mountpoint} is not a mount point`, { cause });
  });
  const mounted = await findMount(path);
  if (mounted?.type !== MOUNT_TYPE) throw new FsError("EINVAL", `BigFS is not mounted at ${path}`);
  const first = await detach(path, { how: force ? "force" : lazy ? "lazy" : "plain", privileged });
  if (first === undefined) return;
  if (first.errno !== "EBUSY" || (await liveness(path, clock)) !== "dead") throw first;
  const second = await detach(path, { how: "lazy", privileged });
  if (second !== undefined) throw second;
}

export function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/** Takes away what is mounted at this canonical path, without ever asking it anything; undefined: done. */
export async function detach(
  path: string,
  { how, privileged }: { how: "plain" | "lazy" | "force"; privileged: boolean },
): Promise<FsError | undefined> {
  const addon = privileged ? addonIfBuilt() : undefined;
  if (addon === undefined) return byHelper(path, how, privileged);
  const workers = new Workers(addon);
  try {
    if (how === "force") await workers.unmount(path, "force");
    const result = await workers.unmount(path, how === "plain" ? "plain" : "lazy");
    if (result === 0) return undefined;
    // A broken mount that nobody used went away with the connection.
    if (how === "force" && result === -EINVAL) return undefined;
    if (result === -EBUSY) return busy(path);
    if (result === -EPERM) return new FsError("EPERM", `not allowed to unmount ${path}`);
    return new FsError("EIO", `${path} could not be unmounted (errno ${-result})`);
  } finally {
    workers.stop();
  }
}

/** Root need not have fusermount3 (libfuse 2 mounts without it), and it is Linux's alone; so is taking away lazily. */
async function byHelper(
  path: string,
  how: "plain" | "lazy" | "force",
  privileged: boolean,
): Promise<FsError | undefined> {
  const isLinux = hasProc();
  const { ok, message } = await (privileged || !isLinux
    ? runUmount([...(how === "plain" ? [] : [isLinux ? (how === "force" ? "-fl" : "-l") : "-f"]), "--", path])
    : runFusermount(["-u", ...(how === "plain" ? [] : ["-z"]), "--", path]));
  return ok ? undefined : busy(path, message);
}

function busy(path: string, message = ""): FsError {
  const why = message === "" ? "" : ` (${message})`;
  return new FsError("EBUSY", `${path} is in use${why}: end the programs that use it, fuser -vm ${path} lists them`);
}
