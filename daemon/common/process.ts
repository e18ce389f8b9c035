import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import type { Process } from "../../proto/gen/bigfs/v1/store.js";

/**
 * When that process started (clock ticks since the boot, and which boot; without /proc, as on macOS, the second): together
 * with the pid it names one process for good. undefined: no such process, or it is dead and only not yet reaped.
 */
export function startTimeOf(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return hasProc() ? undefined : startTimeByPs(pid);
  }
  // The second field is the command's name in parentheses, which may itself contain spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, ticks] = [fields[0], fields[19]];
  if (ticks === undefined || state === "Z" || state === "X") return undefined;
  return `${ticks}@${bootId()}`;
}

/** Whether this system shows processes as files, as Linux does. */
export function hasProc(): boolean {
  return existsSync("/proc/self/stat");
}

let boot: string | undefined;

function bootId(): string {
  boot ??= readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  return boot;
}

/** By ps(1), which macOS and the BSDs have. */
function startTimeByPs(pid: number): string | undefined {
  const env = { ...process.env, LC_ALL: "C", TZ: "UTC" };
  const stdio = ["ignore", "pipe", "ignore"] as const;
  try {
    const args = ["-o", "stat=", "-o", "lstart=", "-p", String(pid)];
    return startTimeIn(execFileSync("ps", args, { env, encoding: "latin1", stdio: [...stdio] }));
  } catch (error) {
    if (error instanceof Error && "status" in error && error.status !== null) return undefined;
    throw new Error(`cannot see which processes live: ps: ${(error as Error).message}`, { cause: error });
  }
}

/** What `ps -o stat= -o lstart=` says of one process: "Ss   Sun Nov 22 20:07:24 2026". */
export function startTimeIn(line: string): string | undefined {
  const [state, ...started] = line.trim().split(/\s+/);
  return state === undefined || state.startsWith("Z") || started.length === 0 ? undefined : started.join("-");
}

/** This process, as others on this machine can recognize it; on a system without /proc nobody can. */
export function thisProcess(): Process {
  return { pid: process.pid, started: hasProc() ? (startTimeOf(process.pid) ?? "") : "" };
}

/** Whether that process lives on this machine, where it has the same pid as here. */
export function isHere(process: Process | undefined): process is Process {
  return process !== undefined && process.started !== "" && startTimeOf(process.pid) === process.started;
}
