import { hostname } from "node:os";
import type { Argv } from "yargs";
import { parseLocal } from "../../../mount/files/local-path.js";
import { parsePath } from "../../../mount/files/path.js";
import { systemClock } from "../../common/clock.js";
import { createLog } from "../../common/log.js";
import { processRegistry } from "../../common/metrics.js";
import { interruptible } from "../interrupt.js";
import { clusterAddress, deadlinesWith, withCluster } from "../shared-options.js";
import type { Ending } from "../command.js";
import type { FilesJob, JobSource } from "./job.js";

/** Cleaning up after Ctrl-C takes less, as long as all daemons are there. */
const PATIENCE_MS = 2_000;

function tellOfWaiting(): void {
  process.stderr.write("bigfsd: interrupted, what is not whole is being removed; Ctrl-C once more ends it at once\n");
}

/** Options of commands that use files without a mount. */
export function withFiles<T>(yargs: Argv<T>) {
  return withCluster(yargs).option("escaped", {
    alias: "e",
    type: "boolean",
    default: false,
    describe: "paths are written as 'ls' shows them: \\n, \\t, \\\\, \\xff",
  });
}

export interface FilesArgs {
  readonly meta?: string | undefined;
  readonly key?: string | undefined;
  readonly data?: string | undefined;
  readonly escaped?: boolean | undefined;
}

/** A command has a session of its own. */
export function ownSession(end: Ending): JobSource {
  return {
    options: withFiles,
    example: (text) => `$0 ${text} --data ./cluster`,
    run: (args, work, opts) => end(() => withVolume(args, work, opts)),
  };
}

/**
 * Runs a command on the files of a cluster, with the rights of the user who runs it. `signal` is aborted by the first
 * Ctrl-C; what was begun is then cleaned up, and the exit code is 130. A second one ends at once.
 */
export function withVolume(
  args: FilesArgs,
  work: (job: FilesJob) => Promise<number>,
  { writes }: { readonly writes: boolean },
): Promise<number> {
  return interruptible(async (signal) => {
    signal.addEventListener("abort", () => void systemClock.after(PATIENCE_MS, tellOfWaiting));
    const { job, stop } = await openJob(args, { signal, writes });
    try {
      return await work(job);
    } finally {
      await job.files.fs.drain().finally(stop);
    }
  });
}

/** A session of its own, until `stop`. */
export async function openJob(
  args: FilesArgs,
  { signal, writes }: { readonly signal: AbortSignal; readonly writes: boolean },
): Promise<{ job: FilesJob; stop: () => Promise<void> }> {
  const [cluster, { openClient }, { Files }] = await Promise.all([
    clusterAddress(args),
    import("../../../mount/client.js"),
    import("../../../mount/files/files.js"),
  ]);
  const client = await openClient({
    ...cluster,
    name: `${hostname()}:bigfsd ${process.argv[2] ?? ""}`,
    permissions: "rules",
    readOnly: !writes,
    deadlines: deadlinesWith([]),
    log: createLog("files", "silent"),
    clock: systemClock,
    registry: processRegistry(),
  });
  const job = {
    files: new Files(client.fs, self()),
    cluster,
    signal,
    path: (text: string) => parsePath(text, args.escaped),
    local: (text: string) => parseLocal(text, args.escaped),
  };
  return { job, stop: () => client.stop() };
}

/** Who runs this. */
function self() {
  const [uid = 0, gid = 0, groups = []] = [process.getuid?.(), process.getgid?.(), process.getgroups?.()];
  return { uid, gid, groups, pid: process.pid };
}
