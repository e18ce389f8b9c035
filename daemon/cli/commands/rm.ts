import type { ArgumentsCamelCase, Argv } from "yargs";
import { isFolder } from "../../../mount/files/files.js";
import { parsePath, shownPath } from "../../../mount/files/path.js";
import { removeTree } from "../../../mount/files/trees.js";
import { fail } from "../../../proto/errno.js";
import { complain, forEach, withFiles, withVolume } from "../files-session.js";

export const command = "rm <paths..>";
export const describe = "remove files of the cluster";

export function builder(yargs: Argv) {
  return withFiles(yargs)
    .positional("paths", { type: "string", array: true, demandOption: true, describe: "files, and folders with -r" })
    .option("recursive", { alias: "r", type: "boolean", default: false, describe: "folders with all that is in them" })
    .option("force", { alias: "f", type: "boolean", default: false, describe: "what does not exist is no error" })
    .example("$0 rm -r /old --data ./cluster", "a folder and everything in it");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const paths = args.paths.map((path) => parsePath(path, args.escaped));
  return withVolume(
    args,
    (files, signal) =>
      forEach(paths, shownPath, async (path) => {
        const place = await files.place(path);
        const { node } = place;
        if (node === undefined) return args.force ? 0 : fail("ENOENT", "it does not exist");
        if (!isFolder(node)) return files.remove(place, false);
        if (!args.recursive) fail("EISDIR", "it is a folder; -r removes it with all that is in it");
        const failures = await removeTree(files, { ...place, node }, shownPath(path), {
          signal,
          done: () => {},
          failed: complain,
        });
        signal.throwIfAborted();
        return failures;
      }),
    { readOnly: false },
  );
}
