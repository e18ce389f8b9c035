import { readFileSync, readdirSync } from "node:fs";
import { until } from "./until.js";

/** Kills every process that was started with something in this folder, which is a test's own, and waits until none is left. */
export function endAllOf(dir: string): Promise<void> {
  return until(() => {
    const found = readdirSync("/proc").filter((pid) => isStartedWith(pid, dir));
    for (const pid of found) kill(Number(pid));
    return found.length === 0;
  });
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
