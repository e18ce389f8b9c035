import { setTimeout as pause } from "node:timers/promises";
import type { StatusReply } from "../../../proto/gen/bigfs/v1/meta.js";
import { formatSize } from "../../common/sizes.js";
import { defineCommand } from "../command.js";
import { EXIT, exitCodeOf, explain } from "../exit.js";
import { interruptible } from "../interrupt.js";
import { type ClusterAddress, clusterAddress } from "../shared-options.js";
import { table } from "../table.js";
import { ago } from "./ago.js";
import { fetchStatus } from "./ask.js";
import { printJson, withJson } from "./json.js";

const WATCH_MS = 2_000;

export const status = defineCommand({
  command: "status",
  describe: "how the cluster is",
  builder: (yargs) =>
    withJson(yargs)
      .option("watch", {
        alias: "w",
        type: "boolean",
        default: false,
        describe: "again every two seconds, until Ctrl-C; as JSON, one object a line",
      })
      .example("$0 status --data ./cluster", "one cluster of this machine")
      .example("$0 status --watch --data ./cluster", "and how that changes")
      .example("$0 status --meta 10.0.0.1:50052 --key cluster.key --json", "any cluster, as JSON"),
  run: async (args) => {
    const address = await clusterAddress(args);
    if (args.watch) return interruptible((signal) => watch(address, { isJson: args.json, signal }));
    const found = await fetchStatus(address);
    if (args.json) printJson(found);
    else process.stdout.write(page(found));
    return EXIT.done;
  },
});

/** Goes on while the daemon is away, too; rejects when that would be no use, and when it is interrupted. */
async function watch(
  address: ClusterAddress,
  { isJson, signal }: { readonly isJson: boolean; readonly signal: AbortSignal },
): Promise<never> {
  const clear = process.stdout.isTTY && !isJson ? "\x1b[H\x1b[2J" : "";
  for (;;) {
    try {
      const found = await fetchStatus(address);
      process.stdout.write(isJson ? `${JSON.stringify(found)}\n` : `${clear}${page(found)}`);
    } catch (error) {
      const code = exitCodeOf(error);
      if (code === EXIT.misuse || code === EXIT.notAllowed) throw error;
      process.stdout.write(clear);
      process.stderr.write(`bigfsd: ${explain(error)}\n`);
    }
    await pause(WATCH_MS, undefined, { signal });
  }
}

function page(found: StatusReply): string {
  return `${table(rowsOf(found))}\n`;
}

function rowsOf(found: StatusReply): string[][] {
  const { nodes, sessions } = found;
  const sum = (value: (node: StatusReply["nodes"][number]) => number) =>
    nodes.reduce((all, node) => all + value(node), 0);
  const [used, capacity] = [sum((node) => node.used), sum((node) => node.capacity)];
  const written = formatSize(Math.round(sum((node) => node.load?.writtenPerSecond ?? 0)));
  const read = formatSize(Math.round(sum((node) => node.load?.readPerSecond ?? 0)));
  const up = nodes.filter((node) => node.state === "UP").length;
  return [
    ["volume", found.volume],
    ["phase", found.phase],
    ["replicas", `${found.replicas} (at least ${found.minReplicas} before a write is acknowledged)`],
    ["chunk size", formatSize(found.chunkSize)],
    ["files and folders", `${found.inodes}`],
    ["data", formatSize(found.bytes)],
    ["storage", `${formatSize(used)} used of ${formatSize(capacity)}`],
    ["nodes", `${up} up of ${nodes.filter((node) => node.state !== "RETIRED").length}`],
    ...nodes.flatMap(({ name, failing }) => (failing === undefined ? [] : [["failing disk", `${name}: ${failing}`]])),
    ...nodes.filter((node) => node.state === "DRAINING" && node.failing === undefined).map(draining),
    ["chunks", `${found.chunks}`],
    ["copies pending", `${found.pending}${age(found.pending, found.oldestPendingSec)}`],
    ["not synced yet", `${found.unsynced}${age(found.unsynced, found.oldestUnsyncedSec)}`],
    ["under-replicated", `${found.underReplicated}`],
    ["longest not scrubbed", longestUnscrubbed(nodes)],
    ["too many copies", `${found.surplus ?? 0}`],
    ...(found.recounting ? [["counts to change", `${found.recounting} files and folders`]] : []),
    [
      "to be cleaned",
      `${found.garbage}${found.cleaning ? "" : ", but cleaning is off: 'bigfsd config set cleaning on'"}`,
    ],
    ["metadata backup", backupOf(found)],
    ["rates", `${found.requestsPerSecond.toFixed(1)} requests/s, nodes: ${written}/s written, ${read}/s read`],
    ["sessions", sessions.map((s) => `${s.name}${s.connected ? "" : " (away)"}`).join(", ") || "none"],
  ];
}

/** The age of the chunk that nobody has read for the longest time. */
function longestUnscrubbed(nodes: StatusReply["nodes"]): string {
  const [oldest] = [...nodes].sort((a, b) => (b.unscrubbedSec ?? 0) - (a.unscrubbedSec ?? 0));
  if (oldest?.unscrubbedSec === undefined) return "not known yet";
  return `a chunk of ${oldest.name}, read ${ago(oldest.unscrubbedSec)}`;
}

function draining({ name, copies = 0 }: StatusReply["nodes"][number]): string[] {
  return ["draining", copies > 0 ? `${name}: ${copies} copies left` : `${name} is empty: 'bigfsd node rm ${name}'`];
}

function backupOf({ backup }: StatusReply): string {
  if (backup === undefined) return "off: --backup-keep of 'bigfsd meta'";
  const { copies, ageSec, lagSec, problem } = backup;
  const what = copies === 0 ? "none yet" : `on ${copies} nodes, snapshot of ${ageSec} s ago, ${lagSec} s behind`;
  return problem === "" ? what : `${what}: ${problem}`;
}

function age(count: number, seconds: number): string {
  return count === 0 ? "" : `, the oldest for ${seconds} s`;
}
