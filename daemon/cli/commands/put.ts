import { resolve } from "node:path";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { type Files, type Place, isFolder } from "../../../mount/files/files.js";
import { type LocalPath, localName, localPath, shownLocal } from "../../../mount/files/local-path.js";
import { type Path, parsePath, shownPath } from "../../../mount/files/path.js";
import { putFile } from "../../../mount/files/transfer.js";
import { putTree } from "../../../mount/files/trees.js";
import { fail } from "../../../proto/errno.js";
import { UsageError } from "../exit.js";
import { complain, forEach, withFiles, withVolume } from "../files-session.js";
import { withTransfer } from "../progress.js";

export const command = "put <paths..>";
export const describe = "copy local files into the cluster";

export function builder(yargs: Argv) {
  return withFiles(yargs)
    .positional("paths", { type: "string", array: true, demandOption: true, describe: "LOCAL.. PATH" })
    .option("recursive", { alias: "r", type: "boolean", default: false, describe: "folders with all that is in them" })
    .option("preserve", {
      alias: "p",
      type: "boolean",
      default: false,
      describe: "times, mode and (for root) owner too",
    })
    .example("$0 put report.pdf /docs/ --data ./cluster", "one file into a folder")
    .example("$0 put -rp ./photos /photos --data ./cluster", "a folder with all that is in it");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const locals = args.paths.slice(0, -1).map((path) => localPath(resolve(path)));
  const last = args.paths.at(-1) ?? "";
  if (locals.length === 0) throw new UsageError("put wants what to copy, and where to: LOCAL.. PATH");
  const path = parsePath(last, args.escaped);
  return withVolume(
    args,
    async (files, signal) => {
      const into = await destination(files, path, last.endsWith("/") || locals.length > 1);
      return withTransfer({ preserve: args.preserve, signal }, (opts) =>
        forEach(locals, shownLocal, async (local) => {
          const place = await into(local);
          if (args.recursive) return putTree(files, local, place, { ...opts, failed: complain });
          await putFile(files, local, place, opts);
          opts.done(shownLocal(local));
          return 0;
        }),
      );
    },
    { readOnly: false },
  );
}

/** Where each file goes: into the folder of that name if there is one (or must be), otherwise under that name. */
async function destination(
  files: Files,
  path: Path,
  mustBeFolder: boolean,
): Promise<(local: LocalPath) => Promise<Place>> {
  const end = path.length === 0 ? undefined : await files.target(path);
  const folder = end === undefined ? await files.stat(path) : end.node;
  if (folder !== undefined && isFolder(folder)) {
    return async (local) => {
      const name = localName(local);
      return { dir: folder.ino, name, node: (await files.child(folder.ino, name))?.node };
    };
  }
  if (mustBeFolder || end === undefined) fail("ENOTDIR", `${shownPath(path)} is no folder`);
  return () => Promise.resolve(end);
}
