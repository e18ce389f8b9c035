import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, open, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { FsError, errnoFromWire } from "../../proto/errno.js";
import { startTimeOf } from "../common/process.js";
import { StartupError } from "../common/running.js";

/** The descriptor on which a daemon says, in one line of JSON, that it has started or why not. */
export const READY_FD = 3;
/** Set for daemons that shall write to READY_FD. */
export const READY_ENV = "BIGFS_READY";
/** "wanted": a mount shall have a supervisor; "1": it has one, which tells it over its channel what it takes over. */
export const SUPERVISED_ENV = "BIGFS_SUPERVISED";

const readySchema = z.union([
  z.strictObject({ listen: z.string(), warning: z.string().optional() }),
  z.strictObject({ error: z.string(), hint: z.string(), errno: z.string() }),
]);
export type ReadyLine = z.infer<typeof readySchema>;

export interface Spawned {
  readonly pid: number;
  readonly started: string;
  readonly listen: string;
}

/**
 * Starts `bigfsd ARGS` as a process of its own that outlives this one, its output appended to `logFile`, and waits until
 * it has started. A warning of the daemon goes to standard error. Rejects with the StartupError that it told; with the
 * reason of `signal` when that is aborted before, and the process has ended.
 */
export async function spawnDaemon(args: readonly string[], logFile: string, signal?: AbortSignal): Promise<Spawned> {
  const log = await openLog(logFile);
  let child: ChildProcess;
  try {
    child = spawn(process.execPath, [fileURLToPath(new URL("./bin.js", import.meta.url)), ...args], {
      detached: true,
      stdio: ["ignore", log.fd, log.fd, "pipe"],
      env: { ...withoutOptions(process.env), [READY_ENV]: "1", [SUPERVISED_ENV]: "wanted" },
      cwd: "/",
    });
  } finally {
    await log.close();
  }
  const ended = new Promise<void>((resolve) => void child.once("exit", () => resolve()));
  const stop = (): void => void child.kill("SIGTERM");
  signal?.addEventListener("abort", stop);
  if (signal?.aborted === true) stop();
  const ready = await readyLine(child);
  signal?.removeEventListener("abort", stop);
  if (signal?.aborted === true) await ended;
  signal?.throwIfAborted();
  child.unref();
  if (ready === undefined) {
    throw new StartupError(`'bigfsd ${args[0] ?? ""}' ended before it was ready`, { hint: `see ${logFile}` });
  }
  if ("error" in ready) {
    const cause = ready.errno === "" ? undefined : new FsError(errnoFromWire(ready.errno), ready.error);
    throw new StartupError(ready.error, { hint: ready.hint, cause });
  }
  if (ready.warning !== undefined) process.stderr.write(`bigfsd: ${ready.warning}\n`);
  const pid = child.pid;
  const started = pid === undefined ? undefined : startTimeOf(pid);
  if (pid === undefined || started === undefined) {
    throw new StartupError(`'bigfsd ${args[0] ?? ""}' ended right after it had started`, { hint: `see ${logFile}` });
  }
  return { pid, started, listen: ready.listen };
}

async function openLog(file: string): Promise<FileHandle> {
  try {
    await mkdir(dirname(file), { recursive: true });
    return await open(file, "a", 0o600);
  } catch (cause) {
    const hint = "name a file that this user may write to (a mount: --log FILE)";
    throw new StartupError(`cannot write the log file ${file}: ${(cause as Error).message}`, { hint, cause });
  }
}

/** What the variables BIGFS_... say is in the arguments already; a daemon shall not take what another one is meant to. */
function withoutOptions(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("BIGFS_")));
}

/** undefined: the daemon ended without a word. */
async function readyLine(child: ChildProcess): Promise<ReadyLine | undefined> {
  const pipe = child.stdio[READY_FD] as Readable;
  let text = "";
  pipe.setEncoding("utf8");
  await new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    pipe.on("data", (part: string) => {
      text += part;
      if (text.includes("\n")) resolve();
    });
    pipe.once("close", resolve);
  });
  pipe.destroy();
  const line = text.split("\n")[0] ?? "";
  return line === "" ? undefined : readySchema.parse(JSON.parse(line));
}
