import { opendir, stat } from "node:fs/promises";
import type { Logger } from "pino";
import type { Clock } from "../../daemon/common/clock.js";
import { StartupError } from "../../daemon/common/running.js";
import { findMount, MOUNT_TYPE } from "./mountinfo.js";
import { canonicalPath, codeOf, liveness } from "./place.js";
import { unmountPath } from "./unmount.js";

/** The canonical path of a folder that is ready to be mounted on; frees it from a mount of ours that has died. */
export async function prepareMountpoint(path: string, parts: { log: Logger; clock: Clock }): Promise<string> {
  const folder = await canonicalPath(path).catch((cause: unknown) => {
    throw missing(path, cause);
  });
  const mounted = await findMount(folder);
  if (mounted?.type.startsWith("fuse") === true) await freeFromDead(folder, mounted.type, parts);
  await mustBeEmptyFolder(folder);
  return folder;
}

async function freeFromDead(folder: string, type: string, { log, clock }: { log: Logger; clock: Clock }) {
  const state = await liveness(folder, clock);
  if (state === "dead" && type === MOUNT_TYPE) {
    log.warn({ mountpoint: folder }, "unmounting what a crashed mount left");
    await unmountPath(folder, { lazy: true });
    return;
  }
  if (state === "alive") {
    throw new StartupError(`${folder} is busy: ${type} is mounted there already`, {
      hint: `unmount it first (bigfsd umount ${folder}), or choose another folder`,
    });
  }
  const what = state === "dead" ? `the process behind ${type} has died` : `${type} does not answer`;
  throw new StartupError(`${folder} is mounted already, and ${what}`, {
    hint: `free it with: umount -f ${folder} || fusermount3 -uz ${folder}`,
  });
}

function missing(path: string, cause: unknown): StartupError {
  const code = codeOf(cause);
  if (code === "ENOENT")
    return new StartupError(`${path} does not exist`, { hint: `create it: mkdir -p ${path}`, cause });
  return new StartupError(`${path} cannot be used as a mount point (${code})`, {
    hint: "choose a folder that you may enter",
    cause,
  });
}

async function mustBeEmptyFolder(folder: string): Promise<void> {
  const found = await stat(folder).catch((cause: unknown) => {
    throw missing(folder, cause);
  });
  if (!found.isDirectory()) {
    throw new StartupError(`${folder} is not a folder`, { hint: "choose an empty folder to mount on" });
  }
  const entries = await opendir(folder).catch((cause: unknown) => {
    throw missing(folder, cause);
  });
  try {
    if ((await entries.read()) === null) return;
  } finally {
    await entries.close();
  }
  throw new StartupError(`${folder} is not empty`, {
    hint: "choose an empty folder: a mount would hide what is in it",
  });
}
