/**
 * One user for each folder. Every process that wants it puts a file there whose name says who it is, and has the folder
 * when it then finds no other file of a living process. Names are never used twice, so a dead process's file can be
 * removed by anybody, and of two processes at once the later one always sees the earlier one's file.
 */
import { randomBytes } from "node:crypto";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startTimeOf } from "./process.js";
import { StartupError } from "./running.js";

export interface FolderLock {
  /** Safe to call twice. */
  release(): Promise<void>;
}

/** How often to look whether another that wants the folder, too, has withdrawn. */
const LOOKS = 50;

/**
 * Makes this process the only one that uses the folder, which exists. StartupError when another one (or another part of
 * this one) does. A lock whose process is dead (none has its pid and start time) does not count and is removed.
 */
export async function lockFolder(dir: string): Promise<FolderLock> {
  const own = `lock.${process.pid}.${startTimeOf(process.pid) ?? ""}.${randomBytes(8).toString("hex")}`;
  const release = (): Promise<void> => rm(join(dir, own), { force: true });
  try {
    await writeFile(join(dir, own), "", { flag: "wx" });
    for (let look = 1; ; look++) {
      const others = await livingOthers(dir, own);
      const [first] = others;
      if (first === undefined) return { release };
      const mine = order(own);
      if (look >= LOOKS || others.some((other) => order(other) < mine)) throw inUse(dir, first);
    }
  } catch (error) {
    await release().catch(() => {});
    if (error instanceof StartupError) throw error;
    const hint = "check that the folder exists and belongs to this user";
    throw new StartupError(`cannot lock ${dir}: ${(error as Error).message}`, { hint, cause: error });
  }
}

/** True for the files that this module makes. */
export function isLockName(name: string): boolean {
  return parse(name) !== undefined;
}

async function livingOthers(dir: string, own: string): Promise<string[]> {
  const living: string[] = [];
  for (const name of await readdir(dir)) {
    const holder = name === own ? undefined : parse(name);
    if (holder === undefined) continue;
    if (startTimeOf(holder.pid) === holder.started) living.push(name);
    else await rm(join(dir, name), { force: true });
  }
  return living;
}

function parse(name: string): { pid: number; started: string; nonce: string } | undefined {
  const [, pid, started, nonce] = /^lock\.(\d+)\.([^.]*)\.([0-9a-f]{16})$/.exec(name) ?? [];
  if (pid === undefined || started === undefined || nonce === undefined) return undefined;
  return { pid: Number(pid), started, nonce };
}

function order(name: string): string {
  return parse(name)?.nonce ?? "";
}

function inUse(dir: string, name: string): StartupError {
  const pid = parse(name)?.pid ?? 0;
  return new StartupError(`${dir} is in use by process ${pid}`, {
    hint: `stop that process first ('ps -p ${pid}' shows it), or name another folder`,
  });
}
