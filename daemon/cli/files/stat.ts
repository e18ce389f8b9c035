import { shownPath } from "../../../mount/files/path.js";
import { table } from "../table.js";
import { JSON_OPTION, filesCommand, forEach } from "./job.js";
import { attributeRows, describeNode } from "./lines.js";

export const stat = filesCommand({
  command: "stat <paths..>",
  describe: "attributes of files of the cluster",
  examples: [["stat /logs/today", "size, mode, owner and times"]],
  builder: (yargs) =>
    yargs
      .positional("paths", { type: "string", array: true, demandOption: true, describe: "files and folders" })
      .option("json", JSON_OPTION),
  run: ({ files, path }, args) =>
    forEach(args.paths.map(path), shownPath, async (at) => {
      const { attr } = await files.stat(at, { follow: false });
      const text = args.json ? JSON.stringify(describeNode(at, attr)) : table(attributeRows(at, attr));
      process.stdout.write(`${text}\n`);
    }),
});
