import type { ArgumentsCamelCase, Argv } from "yargs";
import { formatSize } from "../../common/sizes.js";
import { fetchStatus } from "../admin.js";
import { EXIT } from "../exit.js";
import { clusterAddress, withCluster } from "../shared-options.js";
import { table } from "../table.js";

export const command = "node <action>";
export const describe = "the storage daemons";

export function builder(yargs: Argv) {
  return withCluster(yargs)
    .positional("action", { choices: ["ls"] as const, demandOption: true, describe: "ls: list them" })
    .option("json", { type: "boolean", default: false, describe: "for programs" })
    .example("$0 node ls --data ./cluster", "name, address, zone, state and space of each");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const { nodes } = await fetchStatus(await clusterAddress(args));
  if (args.json) {
    process.stdout.write(`${JSON.stringify(nodes, null, 2)}\n`);
    return EXIT.done;
  }
  const rows = nodes.map((node) => [
    `${node.id}`,
    node.name,
    node.address,
    node.zone,
    node.state,
    formatSize(node.used),
    formatSize(node.capacity),
    `${node.chunks}`,
  ]);
  const head = ["ID", "NAME", "ADDRESS", "ZONE", "STATE", "USED", "CAPACITY", "CHUNKS"];
  process.stdout.write(`${table([head, ...rows])}\n`);
  return EXIT.done;
}
