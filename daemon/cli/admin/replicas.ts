import type { StatusReply } from "../../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../../proto/limits.js";
import { defineCommand, groupOf } from "../command.js";
import { judgeCopies } from "../doctor/cluster.js";
import { EXIT, UsageError } from "../exit.js";
import { type FilesJob, JSON_OPTION } from "../files/job.js";
import { withFiles, withVolume } from "../files/session.js";
import { printable } from "../../../mount/files/path.js";
import { table } from "../table.js";
import { ask, explainFile, fetchStatus } from "./ask.js";

const PATH = { type: "string", demandOption: true, describe: "a folder or a file of the cluster" } as const;

const set = defineCommand({
  command: "set <count> <path>",
  describe: "how many copies there shall be of a file, or of everything in a folder",
  builder: (yargs) =>
    withFiles(yargs)
      .positional("count", { type: "string", demandOption: true, describe: "copies, or 'default' for the volume's" })
      .positional("path", PATH)
      .option("json", JSON_OPTION)
      .example("$0 replicas set 3 /archive --data ./cluster", "also of what is there: that goes on in the background")
      .example("$0 replicas set default /archive --data ./cluster", "as many as the volume again"),
  run: (args) =>
    withVolume(
      args,
      async (job) => {
        const replicas = countOf(args.count);
        const { ino } = await job.files.stat(job.path(args.path), { follow: true });
        await ask(job.cluster, { $case: "setReplicas", value: { ino, replicas } });
        const status = await fetchStatus(job.cluster);
        print(await describe(job, args.path, status), args.json);
        for (const { level, what, fix } of judgeCopies({
          meta: job.cluster.meta,
          status: { ...status, replicas: replicas || status.replicas },
        })) {
          if (level !== "ok")
            process.stderr.write(`bigfsd: warning: ${what}${fix === undefined ? "" : `\n  ${fix}`}\n`);
        }
        return EXIT.done;
      },
      { writes: false },
    ),
});

const show = defineCommand({
  command: "show <path>",
  describe: "how many copies there shall be",
  builder: (yargs) =>
    withFiles(yargs)
      .positional("path", PATH)
      .option("json", JSON_OPTION)
      .example("$0 replicas show /archive --data ./cluster", "its count, and whether all is changed that shall be"),
  run: (args) =>
    withVolume(
      args,
      async (job) => {
        print(await describe(job, args.path, await fetchStatus(job.cluster)), args.json);
        return EXIT.done;
      },
      { writes: false },
    ),
});

export const replicas = groupOf(
  "replicas",
  "how many copies there shall be of what is in a folder",
  [set, show],
  ["$0 replicas set 3 /archive --data ./cluster", "three copies of everything in a folder"],
);

function countOf(text: string): number {
  if (text === "default") return 0;
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= LIMITS.replicasMax) return count;
  throw new UsageError(`${text} copies: give a whole number from 1 to ${LIMITS.replicasMax}, or 'default'`);
}

/** `own`: null when it goes by the volume's count. */
async function describe({ files, cluster, path }: FilesJob, text: string, status: StatusReply) {
  const { ino } = await files.stat(path(text), { follow: true });
  const { attr } = await explainFile(cluster, ino);
  const own = attr?.replicas ?? 0;
  const wanted = own === 0 ? status.replicas : own;
  return {
    path: printable(text),
    replicas: wanted,
    own: own === 0 ? null : own,
    minReplicas: Math.min(status.minReplicas, wanted),
    changing: status.recounting ?? 0,
  };
}

function print(found: Awaited<ReturnType<typeof describe>>, isJson: boolean): void {
  if (isJson) {
    process.stdout.write(`${JSON.stringify(found)}\n`);
    return;
  }
  const { replicas: wanted, own, minReplicas, changing } = found;
  const rows = [
    ["path", found.path],
    ["copies", `${wanted}${own === null ? ", as many as the volume" : ""}`],
    ["of a write", `${minReplicas} before it is acknowledged`],
    ["still to be changed", changing === 0 ? "nothing" : `${changing} files and folders of the cluster`],
  ];
  process.stdout.write(`${table(rows)}\n`);
}
