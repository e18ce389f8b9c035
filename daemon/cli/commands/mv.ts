import type { ArgumentsCamelCase, Argv } from "yargs";
import { isFolder } from "../../../mount/files/files.js";
import { parsePath, shownPath } from "../../../mount/files/path.js";
import { fail } from "../../../proto/errno.js";
import { UsageError } from "../exit.js";
import { forEach, withFiles, withVolume } from "../files-session.js";

export const command = "mv <paths..>";
export const describe = "move and rename files in the cluster";

export function builder(yargs: Argv) {
  return withFiles(yargs)
    .positional("paths", { type: "string", array: true, demandOption: true, describe: "FROM.. INTO" })
    .option("no-clobber", { alias: "n", type: "boolean", default: false, describe: "replace nothing" })
    .example("$0 mv /a /b --data ./cluster", "another name; into /b if that is a folder");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const paths = args.paths.map((path) => parsePath(path, args.escaped));
  const into = paths.pop();
  if (into === undefined || paths.length === 0)
    throw new UsageError("mv wants what to move, and where to: FROM.. INTO");
  return withVolume(
    args,
    async (files) => {
      const end = into.length === 0 ? undefined : await files.target(into);
      const folder = end === undefined ? await files.stat(into) : end.node;
      const isInto = folder !== undefined && isFolder(folder);
      if (paths.length > 1 && !isInto) fail("ENOTDIR", `${shownPath(into)} is no folder`);
      return forEach(paths, shownPath, async (path) => {
        const from = await files.place(path);
        if (from.node === undefined) fail("ENOENT", "it does not exist");
        const to = isInto ? { dir: folder.ino, name: from.name } : await files.place(into);
        await files.rename(from, to, { noReplace: args.noClobber });
      });
    },
    { readOnly: false },
  );
}
