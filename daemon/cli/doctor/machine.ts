import { formatSize } from "../../common/sizes.js";
import { finding, ok, type Finding } from "./finding.js";

/** What there is to know of this machine. */
export interface MachineFacts {
  /** "20.15.1" */
  readonly node: string;
  /** "linux" */
  readonly platform: string;
  /** "6.1.0-13-amd64" */
  readonly kernel: string;
  readonly isRoot: boolean;
  /** What opening /dev/fuse gave: an errno name, or undefined when it can be opened. */
  readonly fuseError: string | undefined;
  /** Why the kernel binding cannot be loaded; undefined: it can. */
  readonly bindingError: string | undefined;
  /** "fusermount3 version: 3.14.0"; undefined: it cannot be run. */
  readonly fusermount: string | undefined;
  /** Text of /etc/fuse.conf; undefined: there is none. */
  readonly fuseConf: string | undefined;
  /** Files that a process started here may have open. */
  readonly openFiles: number | undefined;
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number };
}

/** As in package.json. */
export const NODE_MIN = "20.15";
/** The oldest kernel with all that a mount needs, and the oldest with epochs for cached names. */
const KERNEL_MIN = "4.20";
const KERNEL_EPOCHS = "6.16";
/** A storage daemon keeps chunk files open that are read. */
const OPEN_FILES_MIN = 4_096;
/** A mount takes up to 400 MiB under load, a daemon 300. */
const MEMORY_MIN = 512 * 2 ** 20;

const INSTALL_FUSE = "apt-get install -y fuse3";

export function judgeMachine(facts: MachineFacts): Finding[] {
  return [
    nodeVersion(facts),
    ...kernelVersion(facts),
    fuseDevice(facts),
    binding(facts),
    helper(facts),
    otherUsers(facts),
    openFiles(facts),
    memory(facts),
  ];
}

/** Whether version "a.b..." is at least "c.d". */
export function isAtLeast(version: string, least: string): boolean {
  const [a = 0, b = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  const [c = 0, d = 0] = least.split(".").map(Number);
  return a > c || (a === c && b >= d);
}

function nodeVersion({ node }: MachineFacts): Finding {
  if (isAtLeast(node, NODE_MIN)) return ok("node-version", `Node.js ${node}`);
  return finding(
    "error",
    "node-version",
    `Node.js ${node} is older than ${NODE_MIN}`,
    "install it from https://nodejs.org",
  );
}

function kernelVersion({ platform, kernel }: MachineFacts): Finding[] {
  const check = "kernel";
  if (platform !== "linux") return [finding("error", check, `mounts need Linux, this is ${platform}`)];
  if (!isAtLeast(kernel, KERNEL_MIN)) {
    const what = `Linux ${kernel} is older than ${KERNEL_MIN}: mounts do not work`;
    return [finding("error", check, what, "install a newer kernel, then: reboot")];
  }
  if (isAtLeast(kernel, KERNEL_EPOCHS)) return [ok(check, `Linux ${kernel}`)];
  const what = `Linux ${kernel}: names that another mount removes from a busy folder may be shown a moment longer`;
  return [finding("note", check, what, `Linux ${KERNEL_EPOCHS} or newer does without that`)];
}

function fuseDevice({ fuseError }: MachineFacts): Finding {
  const check = "fuse-device";
  if (fuseError === undefined) return ok(check, "/dev/fuse can be opened");
  if (fuseError === "EACCES" || fuseError === "EPERM") {
    const fix = "chmod 0666 /dev/fuse   (as root; in a container: start it with --device /dev/fuse)";
    return finding("error", check, `/dev/fuse may not be opened by this user (${fuseError})`, fix);
  }
  const fix = "modprobe fuse   (as root; in a container: start it with --device /dev/fuse --cap-add SYS_ADMIN)";
  return finding("error", check, `/dev/fuse cannot be opened (${fuseError}): mounts do not work`, fix);
}

function binding({ bindingError }: MachineFacts): Finding {
  if (bindingError === undefined) return ok("kernel-binding", "the kernel binding is built");
  return finding("error", "kernel-binding", bindingError, "scripts/build");
}

function helper({ fusermount, isRoot }: MachineFacts): Finding {
  const check = "fusermount3";
  if (fusermount !== undefined) return ok(check, fusermount);
  if (isRoot) return finding("note", check, "no fusermount3: only root can mount", INSTALL_FUSE);
  return finding("error", check, "no fusermount3: this user cannot mount", INSTALL_FUSE);
}

function otherUsers({ fuseConf, isRoot }: MachineFacts): Finding {
  const check = "user-allow-other";
  if (/^\s*user_allow_other\s*$/m.test(fuseConf ?? "")) return ok(check, "users may mount with --allow-other");
  if (isRoot) return ok(check, "root may mount with --allow-other, users may not");
  const fix = "echo user_allow_other >> /etc/fuse.conf   (as root)";
  return finding("note", check, "this user may not mount with --allow-other", fix);
}

function openFiles({ openFiles: most }: MachineFacts): Finding {
  const check = "open-files";
  if (most === undefined) return finding("note", check, "how many files a process may open is not known");
  if (most >= OPEN_FILES_MIN)
    return ok(check, `a process may open ${most === Infinity ? "any number of" : most} files`);
  const fix = "ulimit -n 65536   (as a service: LimitNOFILE=65536)";
  return finding("warning", check, `a process may open only ${most} files; daemons want ${OPEN_FILES_MIN}`, fix);
}

function memory({ memory: { availableBytes, totalBytes } }: MachineFacts): Finding {
  const what = `${formatSize(availableBytes)} of ${formatSize(totalBytes)} memory available`;
  if (availableBytes >= MEMORY_MIN) return ok("memory", what);
  const fix = "bigfsd meta --cache 16MiB, bigfsd mount --cache 16MiB --dirty 16MiB";
  return finding("warning", "memory", `${what}: little for a daemon and a mount`, fix);
}
