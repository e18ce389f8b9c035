import { isFolder } from "../../../mount/files/files.js";
import { shownPath } from "../../../mount/files/path.js";
import { FsError, errnoOf, fail } from "../../../proto/errno.js";
import { JSON_OPTION, eachOnce, filesCommand, forEachPath, severalPaths } from "./job.js";

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
  run: async (job, args) => {
    const { files, path } = job;
    const paths = args.paths.slice(0, -1);
    const last = args.paths.at(-1) ?? "";
    const into = path(last);
    const end = into.length === 0 ? undefined : await files.target(into);
    const folder = end === undefined ? await files.stat(into) : end.node;
    const isInto = folder !== undefined && isFolder(folder);
    if (!isInto && (paths.length > 1 || last.endsWith("/"))) fail("ENOTDIR", `${shownPath(into)} is no folder`);
    const once = eachOnce();
    return forEachPath(
      job,
      paths,
      async (at) => {
        const from = await files.place(at);
        if (from.node === undefined) fail("ENOENT", "it does not exist");
        if (isInto) once(from.name);
        const to = isInto ? { dir: folder.ino, name: from.name } : await files.place(into);
        await files.rename(from, to, { noReplace: args.noClobber }).catch((error: unknown) => {
          if (errnoOf(error) !== "EINVAL") throw error;
          throw new FsError("EINVAL", "a folder cannot be moved into itself", { cause: error });
        });
      },
      args,
    );
  },
});
