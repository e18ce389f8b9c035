import type { FsckFinding } from "../../../proto/gen/bigfs/v1/meta.js";
import { FsError } from "../../../proto/errno.js";
import { pathOf, shownPath } from "../../../mount/files/path.js";
import { defineCommand } from "../command.js";
import { EXIT } from "../exit.js";
import { clusterAddress } from "../shared-options.js";
import { askForParts } from "./ask.js";
import { printJson, withJson } from "./json.js";

export const fsck = defineCommand({
  command: "fsck",
  describe: "check the metadata against itself and against what nodes have, and which files have lost chunks",
  builder: (yargs) =>
    withJson(yargs)
      .example("$0 fsck --data ./cluster", "while it serves; changes nothing")
      .epilogue("Nodes that are away are not checked, and named. Exit 1 when something is wrong."),
  run: async (args) => {
    const address = await clusterAddress(args);
    const findings: ReturnType<typeof shown>[] = [];
    let wrong = 0;
    for await (const part of askForParts(address, { $case: "fsck", value: {} })) {
      if (part.$case !== "fsck") throw new FsError("EPROTO", `${address.meta} answered something else`);
      const { last, inodes, chunks, unchecked } = part.value;
      for (const finding of part.value.findings.map(shown)) {
        wrong += 1;
        if (args.json) findings.push(finding);
        else process.stdout.write(`${[`${finding.check}: ${finding.what}`, ...finding.paths].join("\n  ")}\n`);
      }
      if (!last) continue;
      if (args.json) printJson({ inodes, chunks, findings, unchecked });
      for (const { name, why } of unchecked) process.stderr.write(`bigfsd: ${name} is not checked: ${why}\n`);
      if (!args.json)
        process.stdout.write(`${inodes} inodes and ${chunks} chunks: ${wrong === 0 ? "nothing" : wrong} wrong\n`);
      break;
    }
    return wrong > 0 ? EXIT.failed : EXIT.done;
  },
});

function shown({ check, what, inos, paths, chunk, node }: FsckFinding) {
  const named = paths.filter((path) => path.length > 0).map((path) => shownPath(pathOf(path)));
  return { check, what, inos, paths: named, ...(chunk === 0 ? {} : { chunk }), node };
}
