import type { ArgumentsCamelCase, Argv } from "yargs";
import { parsePath, shownPath } from "../../../mount/files/path.js";
import { fail } from "../../../proto/errno.js";
import { forEach, withFiles, withVolume } from "../files-session.js";

export const command = "mkdir <paths..>";
export const describe = "make folders in the cluster";

export function builder(yargs: Argv) {
  return withFiles(yargs)
    .positional("paths", { type: "string", array: true, demandOption: true, describe: "folders to make" })
    .option("parents", {
      alias: "p",
      type: "boolean",
      default: false,
      describe: "those above too; what exists is no error",
    })
    .example("$0 mkdir -p /a/b/c --data ./cluster", "a folder and those above it");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const paths = args.paths.map((path) => parsePath(path, args.escaped));
  const mode = 0o777 & ~process.umask();
  return withVolume(
    args,
    (files) =>
      forEach(paths, shownPath, async (path) => {
        if (args.parents) {
          await files.mkdirs(path, mode);
          return;
        }
        const place = await files.place(path);
        if (place.node !== undefined) fail("EEXIST", "it exists already");
        await files.mkdir(place, mode);
      }),
    { readOnly: false },
  );
}
