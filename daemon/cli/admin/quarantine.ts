import type { NodeInfo } from "../../../proto/gen/bigfs/v1/node.js";
import type { QuarantinedFile } from "../../../proto/gen/bigfs/v1/store.js";
import { FsError } from "../../../proto/errno.js";
import { formatSize } from "../../common/sizes.js";
import { defineCommand, groupOf } from "../command.js";
import { EXIT } from "../exit.js";
import { timeText } from "../files/lines.js";
import { type ClusterAddress, clusterAddress } from "../shared-options.js";
import { table } from "../table.js";
import { askForParts, fetchStatus } from "./ask.js";
import { findNode } from "./find-node.js";
import { printJson, withJson } from "./json.js";

/** What one node has said. */
interface Told {
  readonly node: NodeInfo;
  folder: string;
  problem: string;
  readonly files: QuarantinedFile[];
}

const ls = defineCommand({
  command: "ls [node]",
  describe: "list what storage daemons have put aside, why, and when",
  builder: (yargs) =>
    withJson(yargs.positional("node", { type: "string", describe: "its id or its name; default: all" }))
      .example("$0 quarantine ls --data ./cluster", "of all nodes")
      .example("$0 quarantine ls store1 --data ./cluster", "of one")
      .epilogue(
        "A chunk file begins with a header; what follows are the chunk's bytes. Nothing leaves quarantine by itself: who " +
          "has looked removes the file on the node's machine. Exit 1 when a node could not be asked.",
      ),
  run: async (args) => {
    const address = await clusterAddress(args);
    const told = await askNodes(address, args.node);
    if (args.json) printJson(told.map(asJson));
    else print(told);
    return told.some(({ problem }) => problem !== "") ? EXIT.failed : EXIT.done;
  },
});

export const quarantine = groupOf(
  "quarantine",
  "chunk files that were found bad or that nobody can explain",
  [ls],
  ["$0 quarantine ls --data ./cluster", "node, chunk, size, when and why"],
);

async function askNodes(address: ClusterAddress, wanted: string | undefined): Promise<Told[]> {
  const { nodes } = await fetchStatus(address);
  const one = wanted === undefined ? undefined : (await findNode(address, wanted)).id;
  const told = new Map<number, Told>();
  for await (const part of askForParts(address, { $case: "askQuarantine", value: { node: one } })) {
    if (part.$case !== "askQuarantine") throw new FsError("EPROTO", `${address.meta} answered something else`);
    const { node: id, list, problem, last } = part.value;
    if (last) break;
    const node = nodes.find((each) => each.id === id);
    if (node === undefined) continue;
    const of = told.get(id) ?? { node, folder: "", problem: "", files: [] };
    told.set(id, of);
    of.folder = list?.folder ?? of.folder;
    of.problem = problem;
    of.files.push(...(list?.files ?? []));
  }
  return [...told.values()];
}

function asJson({ node, folder, problem, files }: Told) {
  return {
    ...{ node: node.id, name: node.name, address: node.address },
    ...(problem === "" ? { folder } : { problem }),
    files,
  };
}

function print(told: readonly Told[]): void {
  const rows = told.flatMap(({ node, files }) =>
    files.map(({ file, chunk, size, since, reason = "unknown: an older build moved it" }) => [
      node.name,
      chunk === undefined ? file : `${chunk}`,
      formatSize(size),
      since === undefined ? "?" : timeText({ sec: since, nsec: 0 }),
      reason,
    ]),
  );
  if (rows.length > 0) process.stdout.write(`${table([["NODE", "CHUNK", "SIZE", "SINCE", "REASON"], ...rows])}\n`);
  for (const { node, folder, problem, files } of told) {
    const { name, address } = node;
    if (problem !== "") process.stderr.write(`bigfsd: ${name} (${address}) could not be asked: ${problem}\n`);
    else if (files.length > 0) process.stdout.write(`${name} (${address}): ${files.length} in ${folder}\n`);
  }
  if (rows.length === 0 && told.every(({ problem }) => problem === "")) process.stdout.write("nothing\n");
}
