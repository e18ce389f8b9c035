import { shownPath } from "../../../mount/files/path.js";
import { fail } from "../../../proto/errno.js";
import { JSON_OPTION, filesCommand, forEach } from "./job.js";

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
  run: ({ files, path }, args) => {
    const mode = 0o777 & ~process.umask();
    return forEach(
      args.paths.map(path),
      shownPath,
      async (at) => {
        if (args.parents) {
          await files.mkdirs(at, mode);
          return;
        }
        const place = await files.place(at);
        if (place.node !== undefined) fail("EEXIST", "it exists already");
        await files.mkdir(place, mode);
      },
      args,
    );
  },
});
