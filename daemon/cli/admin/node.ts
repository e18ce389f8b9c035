import type { NodeInfo } from "../../../proto/gen/bigfs/v1/node.js";
import { formatSize } from "../../common/sizes.js";
import { defineCommand, groupOf } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { clusterAddress } from "../shared-options.js";
import { table } from "../table.js";
import { ago } from "./ago.js";
import { ask, fetchStatus } from "./ask.js";
import { findNode } from "./find-node.js";
import { printJson, withJson } from "./json.js";

/** All chunks of the volume are looked at: for a removal, and for what is asked for before that was done once. */
const COUNTING_MS = 600_000;

const NODE = { type: "string", demandOption: true, describe: "its id or its name" } as const;

const ls = defineCommand({
  command: "ls",
  describe: "list them",
  builder: (yargs) =>
    withJson(yargs).example("$0 node ls --data ./cluster", "name, address, zone, state and space of each"),
  run: async (args) => {
    const { nodes } = await fetchStatus(await clusterAddress(args));
    if (args.json) printJson(nodes);
    else {
      const head = ["ID", "NAME", "ADDRESS", "ZONE", "STATE", "USED", "CAPACITY", "CHUNKS"];
      process.stdout.write(`${table([head, ...nodes.map(columns)])}\n`);
    }
    return EXIT.done;
  },
});

const show = defineCommand({
  command: "show <node>",
  describe: "everything about one",
  builder: (yargs) =>
    withJson(yargs.positional("node", NODE)).example("$0 node show store1 --data ./cluster", "one, by its name"),
  run: async (args) => {
    print(await findNode(await clusterAddress(args), args.node), args.json);
    return EXIT.done;
  },
});

const rename = defineCommand({
  command: "rename <node> <name>",
  describe: "give one another name",
  builder: (yargs) =>
    withJson(yargs.positional("node", NODE))
      .positional("name", { type: "string", demandOption: true, describe: "the new name" })
      .example("$0 node rename 3 rack2-a --data ./cluster", "it keeps that name over restarts"),
  run: async (args) => {
    const address = await clusterAddress(args);
    const { id } = await findNode(address, args.node);
    print(await ask(address, { $case: "setNode", value: { node: id, name: args.name } }), args.json);
    return EXIT.done;
  },
});

const set = defineCommand({
  command: "set <node>",
  describe: "change what may change of one",
  builder: (yargs) =>
    withJson(yargs.positional("node", NODE))
      .option("zone", { type: "string", describe: "copies of a chunk go to different zones" })
      .example("$0 node set store1 --zone rack2 --data ./cluster", "it keeps that zone over restarts"),
  run: async (args) => {
    if (args.zone === undefined) throw new UsageError("what shall be changed? give --zone ZONE");
    const address = await clusterAddress(args);
    const { id } = await findNode(address, args.node);
    print(await ask(address, { $case: "setNode", value: { node: id, zone: args.zone } }), args.json);
    return EXIT.done;
  },
});

const scrub = defineCommand({
  command: "scrub <node>",
  describe: "have one read all its chunks against their checksums, beginning now",
  builder: (yargs) =>
    withJson(yargs.positional("node", NODE)).example(
      "$0 node scrub store1 --data ./cluster",
      "it goes on in the background; 'status' shows the age of what was not read yet",
    ),
  run: async (args) => {
    const address = await clusterAddress(args);
    const { id } = await findNode(address, args.node);
    print(await ask(address, { $case: "scrubNode", value: { node: id } }), args.json);
    return EXIT.done;
  },
});

const drain = defineCommand({
  command: "drain <node>",
  describe: "empty one: it gets no new chunks, and its copies move to the others",
  builder: (yargs) =>
    withJson(yargs.positional("node", NODE))
      .option("cancel", { type: "boolean", default: false, describe: "it stays after all; what has moved stays moved" })
      .example(
        "$0 node drain store2 --data ./cluster",
        "goes on in the background; 'status' and 'node ls' show how far",
      )
      .example("$0 node drain store2 --cancel --data ./cluster", "and now it shall stay"),
  run: async (args) => {
    const address = await clusterAddress(args);
    const { id } = await findNode(address, args.node);
    const change = { $case: "setNode" as const, value: { node: id, draining: !args.cancel } };
    const found = await ask(address, change, { timeoutMs: COUNTING_MS });
    if (args.json) printJson(found);
    else if (args.cancel) process.stdout.write(`${found.name} stays, and gets new chunks again\n`);
    else process.stdout.write(`${found.name} is drained: ${found.copies ?? 0} copies to move\n`);
    return EXIT.done;
  },
});

const rm = defineCommand({
  command: "rm <node>",
  describe: "take an empty one out of the cluster for good, or one that is lost",
  builder: (yargs) =>
    withJson(yargs.positional("node", NODE))
      .option("lost", {
        type: "boolean",
        default: false,
        describe: "it is gone for good: its copies count as lost, and are made again from the others",
      })
      .option("force", {
        alias: "f",
        type: "boolean",
        default: false,
        describe: "with --lost, also when it has copies that nobody else has: their data is lost",
      })
      .example("$0 node rm store2 --data ./cluster", "after 'node drain'; its data folder may not come back")
      .example("$0 node rm store2 --lost --data ./cluster", "its disk has died"),
  run: async (args) => {
    if (args.force && !args.lost) throw new UsageError("--force goes with --lost; an empty node needs neither");
    const address = await clusterAddress(args);
    const { id } = await findNode(address, args.node);
    const { lost, force } = args;
    const removal = { $case: "removeNode" as const, value: { node: id, lost, force } };
    const removed = await ask(address, removal, { timeoutMs: COUNTING_MS });
    if (args.json) printJson(removed);
    else {
      process.stdout.write(`${removed.node?.name ?? args.node} is removed\n`);
      if (removed.lostChunks > 0) process.stdout.write(`${removed.lostChunks} chunks have no copy left\n`);
    }
    return EXIT.done;
  },
});

export const node = groupOf(
  "node",
  "the storage daemons",
  [ls, show, rename, set, scrub, drain, rm],
  ["$0 node ls --data ./cluster", "name, address, zone, state and space of each"],
);

function columns(found: NodeInfo): string[] {
  const { id, name, address, zone, used, capacity, chunks } = found;
  return [`${id}`, name, address, zone, stateOf(found), formatSize(used), formatSize(capacity), `${chunks}`];
}

function stateOf({ state, failing, copies = 0 }: NodeInfo): string {
  const text = state === "DRAINING" ? `${state}, ${copies} copies left` : state;
  return failing === undefined ? text : `${text} (disk fails)`;
}

function print(found: NodeInfo, isJson: boolean): void {
  if (isJson) return printJson(found);
  const { load } = found;
  const percent = (part = 0): string => `${Math.round(part * 100)} %`;
  const rate = (bytes = 0): string => `${formatSize(Math.round(bytes))}/s`;
  const rows = [
    ["id", `${found.id}`],
    ["name", found.name],
    ["address", found.address],
    ["zone", found.zone],
    ["state", stateOf(found)],
    ["storage", `${formatSize(found.used)} used of ${formatSize(found.capacity)}`],
    ["chunks", `${found.chunks}`],
    ["weight", `${found.weight.toFixed(3)} (its share of new chunks)`],
    ["load", `cpu ${percent(load?.cpu)}, memory ${percent(load?.memory)}, disk ${percent(load?.disk)}`],
    ["rates", `${rate(load?.writtenPerSecond)} written, ${rate(load?.readPerSecond)} read`],
    ["scrub", found.unscrubbedSec === undefined ? "" : `every chunk was read ${ago(found.unscrubbedSec)} or later`],
    ["disk", found.failing ?? "no errors"],
    ["uuid", found.uuid],
  ];
  process.stdout.write(`${table(rows)}\n`);
}
