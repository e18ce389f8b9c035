import { once } from "node:events";
import { shownPath } from "../../../mount/files/path.js";
import { filesCommand, forEach } from "./job.js";

export const cat = filesCommand({
  command: "cat <paths..>",
  describe: "write files of the cluster to the output",
  examples: [["cat /logs/today", "the content of a file"]],
  builder: (yargs) => yargs.positional("paths", { type: "string", array: true, demandOption: true, describe: "files" }),
  run: ({ files, signal, path }, args) =>
    forEach(args.paths.map(path), shownPath, async (at) => {
      for await (const piece of files.read(await files.stat(at))) {
        signal.throwIfAborted();
        if (!process.stdout.write(piece)) await once(process.stdout, "drain");
      }
    }),
});
