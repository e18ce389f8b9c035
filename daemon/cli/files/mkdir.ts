import { fail } from "../../../proto/errno.js";
import { JSON_OPTION, filesCommand, forEachPath } from "./job.js";

export const mkdir = filesCommand({
  command: "mkdir <paths..>",
  describe: "make folders in the cluster",
  examples: [["mkdir -p /a/b/c", "a folder and those above it"]],
  writes: true,
  builder: (yargs) =>
    yargs
      .positional("paths", { type: "string", array: true, demandOption: true, describe: "folders to make" })
      .option("json", JSON_OPTION)
      .option("parents", {
        alias: "p",
        type: "boolean",
        default: false,
        describe: "those above too; what exists is no error",
      }),
  run: (job, args) => {
    const { files } = job;
    const mode = 0o777 & ~process.umask();
    return forEachPath(
      job,
      args.paths,
      async (at) => {
        if (args.parents) return files.mkdirs(at, mode);
        const place = await files.place(at);
        if (place.node !== undefined) fail("EEXIST", "it exists already");
        return files.mkdir(place, mode);
      },
      args,
    );
  },
});
