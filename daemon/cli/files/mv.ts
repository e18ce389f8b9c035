import { isFolder } from "../../../mount/files/files.js";
import { shownPath } from "../../../mount/files/path.js";
import { fail } from "../../../proto/errno.js";
import { JSON_OPTION, filesCommand, forEach, severalPaths } from "./job.js";

export const mv = filesCommand({
  command: "mv <paths..>",
  describe: "move and rename files in the cluster",
  examples: [["mv /a /b", "another name; into /b if that is a folder"]],
  writes: true,
  builder: (yargs) =>
    severalPaths(yargs, "FROM.. INTO").option("json", JSON_OPTION).option("no-clobber", {
      alias: "n",
      type: "boolean",
      default: false,
      describe: "replace nothing",
    }),
  run: async ({ files, path }, args) => {
    const paths = args.paths.slice(0, -1).map(path);
    const into = path(args.paths.at(-1) ?? "");
    const end = into.length === 0 ? undefined : await files.target(into);
    const folder = end === undefined ? await files.stat(into) : end.node;
    const isInto = folder !== undefined && isFolder(folder);
    if (paths.length > 1 && !isInto) fail("ENOTDIR", `${shownPath(into)} is no folder`);
    return forEach(
      paths,
      shownPath,
      async (at) => {
        const from = await files.place(at);
        if (from.node === undefined) fail("ENOENT", "it does not exist");
        const to = isInto ? { dir: folder.ino, name: from.name } : await files.place(into);
        await files.rename(from, to, { noReplace: args.noClobber });
      },
      args,
    );
  },
});
