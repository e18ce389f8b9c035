import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { inFolder, localPath } from "../../../mount/files/local-path.js";
import { parsePath, shownPath } from "../../../mount/files/path.js";
import { getFile } from "../../../mount/files/transfer.js";
import { getTree } from "../../../mount/files/trees.js";
import { FsError } from "../../../proto/errno.js";
import { UsageError } from "../exit.js";
import { complain, forEach, withFiles, withVolume } from "../files-session.js";
import { withTransfer } from "../progress.js";

export const command = "get <paths..>";
export const describe = "copy files of the cluster to this machine";

export function builder(yargs: Argv) {
  return withFiles(yargs)
    .positional("paths", { type: "string", array: true, demandOption: true, describe: "PATH.. LOCAL" })
    .option("recursive", { alias: "r", type: "boolean", default: false, describe: "folders with all that is in them" })
    .option("preserve", {
      alias: "p",
      type: "boolean",
      default: false,
      describe: "times, mode and (for root) owner too",
    })
    .example("$0 get /docs/report.pdf . --data ./cluster", "one file into this folder")
    .example("$0 get -rp /photos ./photos --data ./cluster", "a folder with all that is in it");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const paths = args.paths.slice(0, -1).map((path) => parsePath(path, args.escaped));
  const last = args.paths.at(-1) ?? "";
  if (paths.length === 0) throw new UsageError("get wants what to copy, and where to: PATH.. LOCAL");
  const into = localPath(resolve(last));
  const isInto = await isLocalFolder(last);
  if (!isInto && (last.endsWith("/") || paths.length > 1)) throw new UsageError(`${last} is no folder`);
  return withVolume(args, (files, signal) =>
    withTransfer({ preserve: args.preserve, signal }, (opts) =>
      forEach(paths, shownPath, async (path) => {
        const node = await files.stat(path);
        const name = path.at(-1);
        if (isInto && (name === undefined || name === "..")) {
          throw new FsError("EINVAL", "it has no name of its own here: give that of a new folder");
        }
        const local = isInto && name !== undefined && name !== ".." ? inFolder(into, name) : into;
        if (args.recursive) return getTree(files, node, local, { ...opts, failed: complain });
        await getFile(files, node, local, opts);
        opts.done(shownPath(path));
        return 0;
      }),
    ),
  );
}

async function isLocalFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
