import { table } from "../table.js";
import { JSON_OPTION, filesCommand, forEachPath } from "./job.js";
import { attributeRows, describeNode } from "./lines.js";

export const stat = filesCommand({
  command: "stat <paths..>",
  describe: "attributes of files of the cluster",
  examples: [["stat /logs/today", "size, mode, owner and times"]],
  builder: (yargs) =>
    yargs
      .positional("paths", { type: "string", array: true, demandOption: true, describe: "files and folders" })
      .option("json", JSON_OPTION),
  run: (job, args) =>
    forEachPath(job, args.paths, async (at) => {
      const shown = await job.files.withTarget(await job.files.stat(at, { follow: false }));
      const text = args.json ? JSON.stringify(describeNode(at, shown)) : table(attributeRows(at, shown));
      process.stdout.write(`${text}\n`);
    }),
});
