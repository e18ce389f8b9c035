import { readFileSync } from "node:fs";
import type { Process } from "../../proto/gen/bigfs/v1/store.js";

/**
 * When that process started (clock ticks since the boot, and which boot): together with the pid it names one process
 * for good. undefined: no such process, or it is dead and only not yet reaped.
 */
export function startTimeOf(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The second field is the command's name in parentheses, which may itself contain spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, ticks] = [fields[0], fields[19]];
  if (ticks === undefined || state === "Z" || state === "X") return undefined;
  return `${ticks}@${bootId()}`;
}

let boot: string | undefined;

function bootId(): string {
  boot ??= readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  return boot;
}

/** This process, as others on this machine can recognize it. */
export function thisProcess(): Process {
  return { pid: process.pid, started: startTimeOf(process.pid) ?? "" };
}

/** Whether that process lives on this machine, where it has the same pid as here. */
export function isHere(process: Process | undefined): process is Process {
  return process !== undefined && process.started !== "" && startTimeOf(process.pid) === process.started;
}
