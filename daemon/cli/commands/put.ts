import { resolve } from "node:path";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { type Files, type Place, isFolder } from "../../../mount/files/files.js";
import { type LocalPath, localName, localPath, shownLocal } from "../../../mount/files/local-path.js";
import { type Path, parsePath, shownPath } from "../../../mount/files/path.js";
import { putFile } from "../../../mount/files/transfer.js";
import { putTree } from "../../../mount/files/trees.js";
import { fail } from "../../../proto/errno.js";
import { nameOf } from "../../../proto/name.js";
import { UsageError } from "../exit.js";
import { complain, forEach, withFiles, withVolume } from "../files-session.js";
import { withCopying, withTransfer } from "../progress.js";

export const command = "put <paths..>";
export const describe = "copy local files into the cluster";

export function builder(yargs: Argv) {
  return withCopying(withFiles(yargs))
    .positional("paths", { type: "string", array: true, demandOption: true, describe: "LOCAL.. PATH" })
    .example("$0 put report.pdf /docs/ --data ./cluster", "one file into a folder")
    .example("$0 put -rp ./photos / --data ./cluster", "a folder with all that is in it: /photos")
    .example("$0 put -rp ./photos/ /album --data ./cluster", "what is in it; again after an interruption");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

/** `isContent`: what is in the folder is meant, not the folder. */
interface Local {
  readonly path: LocalPath;
  readonly isContent: boolean;
}

export async function handler(args: Args): Promise<number> {
  const locals = args.paths.slice(0, -1).map((path) => ({
    path: localPath(resolve(path)),
    isContent: args.recursive && path.endsWith("/"),
  }));
  const last = args.paths.at(-1) ?? "";
  if (locals.length === 0) throw new UsageError("put wants what to copy, and where to: LOCAL.. PATH");
  const path = parsePath(last, args.escaped);
  return withVolume(
    args,
    async (files, signal) => {
      const into = await destination(files, path, last.endsWith("/") || locals.length > 1);
      return withTransfer({ preserve: args.preserve, signal }, (opts) =>
        forEach(
          locals,
          (local) => shownLocal(local.path),
          async (local) => {
            const place = await into(local);
            if (args.recursive) return putTree(files, local.path, place, { ...opts, failed: complain });
            await putFile(files, local.path, place, opts);
            opts.done(shownLocal(local.path));
            return 0;
          },
        ),
      );
    },
    { readOnly: false },
  );
}

/** Where each file goes: into the folder of that name if there is one (or must be), otherwise under that name. */
async function destination(files: Files, path: Path, mustBeFolder: boolean): Promise<(local: Local) => Promise<Place>> {
  const root = { dir: files.fs.root, name: nameOf(Buffer.alloc(0)) };
  const end = (await files.target(path)) ?? { ...root, node: await files.stat(path) };
  const folder = end.node !== undefined && isFolder(end.node) ? end.node : undefined;
  return async (local) => {
    if (local.isContent || (folder === undefined && !mustBeFolder)) return end;
    if (folder === undefined) fail("ENOTDIR", `${shownPath(path)} is no folder`);
    const name = localName(local.path);
    return { dir: folder.ino, name, node: (await files.child(folder.ino, name))?.node };
  };
}
