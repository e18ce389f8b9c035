import { constants } from "node:os";
import { StartupError } from "../../daemon/common/running.js";
import type { Addon } from "./addon.js";
import { runFusermount } from "./fusermount.js";
import { MOUNT_TYPE } from "./mountinfo.js";

export interface MountWish {
  readonly folder: string;
  /** st_mode of the folder. */
  readonly rootMode: number;
  readonly allowOther: boolean;
  readonly readOnly: boolean;
  readonly privileged: boolean;
}

const { EACCES, ENODEV, ENOENT, ENXIO, EPERM } = constants.errno;
const S_IFMT = 0o170000;
/** The kernel checks permissions: only it knows all groups of who asks. */
const OPTIONS = ["default_permissions", "max_read=1048576"];

/** Mounts, and gives the descriptor of /dev/fuse on which the kernel asks. */
export async function openMount(addon: Addon, wish: MountWish): Promise<number> {
  return wish.privileged ? mountDirectly(addon, wish) : mountByHelper(addon, wish);
}

function mountDirectly(addon: Addon, { folder, rootMode, allowOther, readOnly }: MountWish): number {
  const fd = addon.open();
  if (fd < 0) throw noDevice(-fd);
  const identity = [
    `fd=${fd}`,
    `rootmode=${(rootMode & S_IFMT).toString(8)}`,
    `user_id=${process.getuid?.() ?? 0}`,
    `group_id=${process.getgid?.() ?? 0}`,
  ];
  const options = [...identity, ...OPTIONS, ...(allowOther ? ["allow_other"] : [])].join(",");
  const result = addon.mount("bigfs", folder, MOUNT_TYPE, readOnly ? 1 : 0, options);
  if (result === 0) return fd;
  addon.close(fd);
  if (result === -EPERM) {
    throw new StartupError(`not allowed to mount at ${folder}`, {
      hint: "root in a container needs the capability SYS_ADMIN (docker: --cap-add SYS_ADMIN --device /dev/fuse)",
    });
  }
  throw new StartupError(`mounting at ${folder} failed (errno ${-result})`, { hint: "dmesg may say more" });
}

async function mountByHelper(addon: Addon, { folder, allowOther, readOnly }: MountWish): Promise<number> {
  const options = ["fsname=bigfs", "subtype=bigfs", "nosuid", "nodev", ...OPTIONS];
  if (allowOther) options.push("allow_other");
  if (readOnly) options.push("ro");
  const ends = addon.socketPair();
  if (typeof ends === "number") throw new StartupError(`no socket (errno ${-ends})`, { hint: "too many open files?" });
  const [mine, theirs] = ends;
  try {
    const outcome = await runFusermount(["-o", options.join(","), "--", folder], theirs);
    const fd = outcome.ok ? addon.receiveDescriptor(mine) : -ENOENT;
    if (fd >= 0) return fd;
    throw new StartupError(`mounting at ${folder} failed: ${outcome.message || `errno ${-fd}`}`, {
      hint: helperHint(addon, folder, allowOther),
    });
  } finally {
    addon.close(mine);
    addon.close(theirs);
  }
}

function helperHint(addon: Addon, folder: string, allowOther: boolean): string {
  const fd = addon.open();
  if (fd < 0) return noDevice(-fd).hint;
  addon.close(fd);
  const other = allowOther ? "; --allow-other needs user_allow_other in /etc/fuse.conf" : "";
  return `fusermount3 (Debian: apt-get install fuse3) must be there, and ${folder} must be yours and writable${other}`;
}

function noDevice(errno: number): StartupError {
  if (errno === EACCES || errno === EPERM) {
    return new StartupError("not allowed to open /dev/fuse", {
      hint: "as root: chmod 0666 /dev/fuse; in a container: --device /dev/fuse",
    });
  }
  const absent = errno === ENOENT || errno === ENODEV || errno === ENXIO;
  return new StartupError(absent ? "there is no /dev/fuse" : `/dev/fuse cannot be opened (errno ${errno})`, {
    hint: "as root: modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN",
  });
}
