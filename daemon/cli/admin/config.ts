import type { SetVolume, StatusReply } from "../../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../../proto/limits.js";
import { defineCommand, groupOf } from "../command.js";
import { judgeCopies } from "../doctor/cluster.js";
import { EXIT, UsageError } from "../exit.js";
import { type ClusterAddress, clusterAddress } from "../shared-options.js";
import { table } from "../table.js";
import { ask, fetchStatus } from "./ask.js";
import { printJson, withJson } from "./json.js";

/** Settings of a volume: how each is shown, and how it is changed where it may be. */
const SETTINGS = {
  volume: { of: (found: StatusReply) => found.volume },
  "chunk-size": { of: (found: StatusReply) => found.chunkSize },
  replicas: { of: (found: StatusReply) => found.replicas, set: (text: string) => ({ replicas: countOf(text) }) },
  "min-replicas": {
    of: (found: StatusReply) => found.minReplicas,
    set: (text: string) => ({ minReplicas: countOf(text) }),
  },
  rebalance: {
    of: (found: StatusReply) => (found.rebalance === false ? "off" : "on"),
    set: (text: string) => ({ rebalance: isOn(text) }),
  },
  cleaning: {
    of: (found: StatusReply) => (found.cleaning ? "on" : "off"),
    set: (text: string) => ({ cleaning: isOn(text) }),
  },
} as const;

type Name = keyof typeof SETTINGS;
const NAMES = Object.keys(SETTINGS) as Name[];
const CHANGEABLE = ["replicas", "min-replicas", "rebalance", "cleaning"] as const;

const get = defineCommand({
  command: "get [name]",
  describe: "show the settings of the volume",
  builder: (yargs) =>
    withJson(yargs.positional("name", { choices: NAMES, describe: "that one alone" })).example(
      "$0 config get replicas --data ./cluster",
      "how many copies of each chunk there shall be",
    ),
  run: async (args) => {
    const found = await fetchStatus(await clusterAddress(args));
    const names = args.name === undefined ? NAMES : [args.name];
    const values = names.map((name) => [name, SETTINGS[name].of(found)] as const);
    if (args.json) printJson(Object.fromEntries(values));
    else if (args.name !== undefined) process.stdout.write(`${values[0]?.[1] ?? ""}\n`);
    else process.stdout.write(`${table(values.map(([name, value]) => [name, `${value}`]))}\n`);
    return EXIT.done;
  },
});

const set = defineCommand({
  command: "set <name> <value>",
  describe: "change one that may change",
  builder: (yargs) =>
    withJson(yargs)
      .positional("name", { choices: CHANGEABLE, demandOption: true, describe: "which" })
      .positional("value", { type: "string", demandOption: true, describe: "what from now on" })
      .example("$0 config set replicas 3 --data ./cluster", "missing copies are made in the background")
      .example("$0 config set rebalance off --data ./cluster", "copies stay where they are when a node is added")
      .example("$0 config set cleaning off --data ./cluster", "no chunk is removed until it is on again"),
  run: async (args) => {
    const change = valueOf(args.name, args.value);
    const address = await clusterAddress(args);
    await ask(address, { $case: "setVolume", value: change });
    if (args.json) printJson({ [args.name]: SETTINGS[args.name].of(await fetchStatus(address)) });
    await warn(address);
    return EXIT.done;
  },
});

function valueOf(name: (typeof CHANGEABLE)[number], text: string): SetVolume {
  try {
    return SETTINGS[name].set(text);
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(`${name} ${text}: ${error.message}`) : error;
  }
}

function countOf(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= LIMITS.replicasMax) return count;
  throw new RangeError(`give a whole number from 1 to ${LIMITS.replicasMax}`);
}

function isOn(text: string): boolean {
  if (text !== "on" && text !== "off") throw new RangeError("give on or off");
  return text === "on";
}

/** What was set may be more than the nodes of today allow. */
async function warn(address: ClusterAddress): Promise<void> {
  for (const { level, what, fix } of judgeCopies({ meta: address.meta, status: await fetchStatus(address) })) {
    if (level !== "ok") process.stderr.write(`bigfsd: warning: ${what}${fix === undefined ? "" : `\n  ${fix}`}\n`);
  }
}

export const config = groupOf(
  "config",
  "settings of the volume",
  [get, set],
  ["$0 config get --data ./cluster", "all of them"],
);
