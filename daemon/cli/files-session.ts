import { hostname } from "node:os";
import type { Argv } from "yargs";
import type { Files } from "../../mount/files/files.js";
import { FsError, errnoOf } from "../../proto/errno.js";
import { systemClock } from "../common/clock.js";
import { createLog } from "../common/log.js";
import { processRegistry } from "../common/metrics.js";
import { EXIT, explain } from "./exit.js";
import { clusterAddress, deadlinesWith, withCluster } from "./shared-options.js";

/** Options of commands that use files without a mount. */
export function withFiles<T>(yargs: Argv<T>) {
  return withCluster(yargs).option("escaped", {
    alias: "e",
    type: "boolean",
    default: false,
    describe: "paths of the cluster are written as 'ls' shows them: \\n, \\t, \\\\, \\xff",
  });
}

export interface FilesArgs {
  readonly meta?: string | undefined;
  readonly key?: string | undefined;
  readonly data?: string | undefined;
}

/** As other programs end that were interrupted by SIGINT or SIGTERM. */
const INTERRUPTED = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Runs a command on the files of a cluster, with the rights of the user who runs it. `signal` is aborted by the first
 * Ctrl-C; what was begun is then cleaned up, and the exit code is 130. A second one ends at once.
 */
export async function withVolume(
  args: FilesArgs,
  work: (files: Files, signal: AbortSignal) => Promise<number>,
  { readOnly = true } = {},
): Promise<number> {
  const [address, { openClient }, { Files }] = await Promise.all([
    clusterAddress(args),
    import("../../mount/client.js"),
    import("../../mount/files/files.js"),
  ]);
  const abort = new AbortController();
  let code: number | undefined;
  const interrupted = (name: keyof typeof INTERRUPTED) => () => {
    code = INTERRUPTED[name];
    abort.abort(new FsError("EINTR", "interrupted"));
  };
  const handlers = { SIGINT: interrupted("SIGINT"), SIGTERM: interrupted("SIGTERM") };
  for (const [name, handler] of Object.entries(handlers)) process.once(name, handler);
  const client = await openClient({
    ...address,
    name: `${hostname()}:bigfsd ${process.argv[2] ?? ""}`,
    permissions: "rules",
    readOnly,
    deadlines: deadlinesWith([]),
    log: createLog("files", "silent"),
    clock: systemClock,
    registry: processRegistry(),
  });
  try {
    const files = new Files(client.fs, self());
    const result = await work(files, abort.signal).catch((error: unknown) => {
      if (code === undefined) throw error;
      return code;
    });
    await client.fs.drain();
    return code ?? result;
  } finally {
    await client.stop();
  }
}

/** Who runs this. */
function self() {
  const [uid = 0, gid = 0, groups = []] = [process.getuid?.(), process.getgid?.(), process.getgroups?.()];
  return { uid, gid, groups, pid: process.pid };
}

/** Tells what went wrong with one of several files. */
export function complain(path: string, error: unknown): void {
  process.stderr.write(`bigfsd: ${path}: ${explain(error)}\n`);
}

/** Does the same with each path, and goes on after what fails. Returns the exit code. */
export async function forEach<P>(
  paths: readonly P[],
  shown: (path: P) => string,
  work: (path: P) => Promise<number | void>,
): Promise<number> {
  let failures = 0;
  for (const path of paths) {
    try {
      failures += (await work(path)) ?? 0;
    } catch (error) {
      if (errnoOf(error) === "EINTR") throw error;
      failures++;
      complain(shown(path), error);
    }
  }
  return failures === 0 ? EXIT.done : EXIT.failed;
}
