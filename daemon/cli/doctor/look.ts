import { execFile } from "node:child_process";
import { open, readFile } from "node:fs/promises";
import { release, totalmem } from "node:os";
import type { MachineFacts } from "./machine.js";

/** How long a helper program may take. */
const PROGRAM_MS = 10_000;

/** `fuse`: the device that mounts need. */
export async function lookAtMachine({ fuse = "/dev/fuse" } = {}): Promise<MachineFacts> {
  const [fuseError, bindingError, fusermount, fuseConf, limits] = await Promise.all([
    open(fuse, "r+").then(
      (file) => file.close(),
      ({ code, message }: NodeJS.ErrnoException) => code ?? message,
    ),
    import("../../../mount/kernel/addon.js")
      .then(({ loadAddon }) => void loadAddon())
      .catch((error: Error) => error.message),
    outputOf("fusermount3", ["--version"]),
    readFile("/etc/fuse.conf", "utf8").catch(() => undefined),
    readFile("/proc/self/limits", "utf8").catch(() => ""),
  ]);
  const files = /^Max open files\s+(\S+)/m.exec(limits)?.[1];
  return {
    node: process.versions.node,
    platform: process.platform,
    kernel: release(),
    isRoot: process.geteuid?.() === 0,
    fuseError: fuseError ?? undefined,
    bindingError: bindingError ?? undefined,
    fusermount,
    fuseConf,
    openFiles: files === undefined ? undefined : files === "unlimited" ? Infinity : Number(files),
    memory: { totalBytes: totalmem(), availableBytes: process.availableMemory() },
  };
}

/** What a program printed; undefined: it could not be run, or failed. */
export function outputOf(program: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const settings = { timeout: PROGRAM_MS, env: { ...process.env, LC_ALL: "C" } };
    execFile(program, args, settings, (error, stdout) => resolve(error === null ? stdout.trim() : undefined));
  });
}
