import { isFolder } from "../../../mount/files/files.js";
import { shownPath } from "../../../mount/files/path.js";
import { removeTree } from "../../../mount/files/trees.js";
import { fail } from "../../../proto/errno.js";
import { JSON_OPTION, filesCommand, forEachPath } from "./job.js";

export const rm = filesCommand({
  command: "rm <paths..>",
  describe: "remove files of the cluster",
  examples: [["rm -r /old", "a folder and everything in it"]],
  writes: true,
  builder: (yargs) =>
    yargs
      .positional("paths", { type: "string", array: true, demandOption: true, describe: "files, and folders with -r" })
      .option("recursive", {
        alias: "r",
        type: "boolean",
        default: false,
        describe: "folders with all that is in them",
      })
      .option("json", JSON_OPTION)
      .option("force", { alias: "f", type: "boolean", default: false, describe: "what does not exist is no error" }),
  run: (job, args) =>
    forEachPath(
      job,
      args.paths,
      async (at, failed) => {
        const { files, signal } = job;
        const place = await files.place(at);
        const { node } = place;
        if (node === undefined) return args.force ? 0 : fail("ENOENT", "it does not exist");
        if (!isFolder(node)) return files.remove(place, false);
        if (!args.recursive) fail("EISDIR", "it is a folder; -r removes it with all that is in it");
        return removeTree(files, { ...place, node }, shownPath(at), { signal, done: () => {}, failed });
      },
      args,
    ),
});
