import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { inFolder, localPath } from "../../../mount/files/local-path.js";
import { type Path, parsePath, shownPath } from "../../../mount/files/path.js";
import { getFile } from "../../../mount/files/transfer.js";
import { getTree } from "../../../mount/files/trees.js";
import { FsError } from "../../../proto/errno.js";
import type { Name } from "../../../proto/name.js";
import { UsageError } from "../exit.js";
import { complain, forEach, withFiles, withVolume } from "../files-session.js";
import { withCopying, withTransfer } from "../progress.js";

export const command = "get <paths..>";
export const describe = "copy files of the cluster to this machine";

export function builder(yargs: Argv) {
  return withCopying(withFiles(yargs))
    .positional("paths", { type: "string", array: true, demandOption: true, describe: "PATH.. LOCAL" })
    .example("$0 get /docs/report.pdf . --data ./cluster", "one file into this folder")
    .example("$0 get -rp /photos . --data ./cluster", "a folder with all that is in it: ./photos")
    .example("$0 get -rp /photos/ ./album --data ./cluster", "what is in it; again after an interruption");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const paths = args.paths.slice(0, -1).map((text) => ({
    path: parsePath(text, args.escaped),
    // What is in the folder is meant, not the folder.
    isContent: args.recursive && text.endsWith("/"),
  }));
  const last = args.paths.at(-1) ?? "";
  if (paths.length === 0) throw new UsageError("get wants what to copy, and where to: PATH.. LOCAL");
  const into = localPath(resolve(last));
  const isInto = await isLocalFolder(last);
  if (!isInto && (last.endsWith("/") || paths.length > 1)) throw new UsageError(`${last} is no folder`);
  return withVolume(args, (files, signal) =>
    withTransfer({ preserve: args.preserve, signal }, (opts) =>
      forEach(
        paths,
        ({ path }) => shownPath(path),
        async ({ path, isContent }) => {
          const node = await files.stat(path);
          const local = isInto && !isContent ? inFolder(into, ownName(path)) : into;
          if (args.recursive) return getTree(files, node, local, { ...opts, failed: complain });
          await getFile(files, node, local, opts);
          opts.done(shownPath(path));
          return 0;
        },
      ),
    ),
  );
}

function ownName(path: Path): Name {
  const name = path.at(-1);
  if (name !== undefined && name !== "..") return name;
  throw new FsError("EINVAL", "it has no name of its own here: give that of a new folder");
}

async function isLocalFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
