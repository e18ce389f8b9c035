import type { ArgumentsCamelCase, Argv } from "yargs";
import { formatSize } from "../../common/sizes.js";
import { fetchStatus } from "../admin.js";
import { EXIT } from "../exit.js";
import { clusterAddress, withCluster } from "../shared-options.js";
import { table } from "../table.js";

export const command = "status";
export const describe = "how the cluster is";

export function builder(yargs: Argv) {
  return withCluster(yargs)
    .option("json", { type: "boolean", default: false, describe: "for programs" })
    .example("$0 status --data ./cluster", "one cluster of this machine")
    .example("$0 status --meta 10.0.0.1:50052 --key cluster.key --json", "any cluster, as JSON");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const status = await fetchStatus(await clusterAddress(args));
  if (args.json) {
    process.stdout.write(`${JSON.stringify(status, null, 2)}\n`);
    return EXIT.done;
  }
  const up = status.nodes.filter((node) => node.state === "UP").length;
  const used = status.nodes.reduce((sum, node) => sum + node.used, 0);
  const capacity = status.nodes.reduce((sum, node) => sum + node.capacity, 0);
  const rows = [
    ["volume", status.volume],
    ["phase", status.phase],
    ["replicas", `${status.replicas} (at least ${status.minReplicas} before a write is acknowledged)`],
    ["chunk size", formatSize(status.chunkSize)],
    ["files and folders", `${status.inodes}`],
    ["data", formatSize(status.bytes)],
    ["storage", `${formatSize(used)} used of ${formatSize(capacity)}`],
    ["nodes", `${up} up of ${status.nodes.length}`],
    ["chunks", `${status.chunks}`],
    ["copies pending", `${status.pending}`],
    ["under-replicated", `${status.underReplicated}`],
    ["to be cleaned", `${status.garbage}`],
    ["sessions", status.sessions.map((s) => `${s.name}${s.connected ? "" : " (away)"}`).join(", ") || "none"],
  ];
  process.stdout.write(`${table(rows)}\n`);
  return EXIT.done;
}
