import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./run.js";
import { until } from "./until.js";

/**
 * Makes a temp folder that is given up (`giveUp`) when this process ends, however that comes: a test that takes too long is
 * killed before its teardown, and daemons outlive who has started them.
 */
export async function ownFolder(prefix: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), prefix));
  const guard = spawn(process.execPath, [fileURLToPath(import.meta.url), dir], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  guard.unref();
  (guard.stdin as Socket).unref();
  return dir;
}

/** Kills every process that was started with something in this folder, unmounts what is mounted there, and removes it. */
export async function giveUp(dir: string): Promise<void> {
  await until(() => {
    const found = readdirSync("/proc").filter((pid) => isStartedWith(pid, dir));
    for (const pid of found) kill(Number(pid));
    return found.length === 0;
  });
  const mounts = (await readFile("/proc/self/mounts", "utf8")).split("\n").map((line) => line.split(" ")[1] ?? "");
  for (const path of mounts.reverse()) {
    if (path.startsWith(`${dir}/`)) await run("fusermount3", ["-uz", path]);
  }
  await rm(dir, { recursive: true, force: true });
}

function isStartedWith(pid: string, dir: string): boolean {
  if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(dir);
  } catch {
    return false;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

// As the guard, whose input ends with the process that has started it. That one kills it when it gives up the folder itself.
const [, script, dir] = process.argv;
if (script === fileURLToPath(import.meta.url) && dir !== undefined) {
  process.stdin.resume();
  await once(process.stdin, "end");
  await giveUp(dir);
}
