import { stat } from "node:fs/promises";
import { isFolder } from "../../../mount/files/files.js";
import { type LocalPath, asFolder, folderOf, inFolder, shownLocal } from "../../../mount/files/local-path.js";
import { type Path, printable, shownPath } from "../../../mount/files/path.js";
import { getFile } from "../../../mount/files/transfer.js";
import { getTree } from "../../../mount/files/trees.js";
import { FsError } from "../../../proto/errno.js";
import type { Name } from "../../../proto/name.js";
import { UsageError } from "../exit.js";
import { eachOnce, filesCommand, forEach, severalPaths } from "./job.js";
import { copyingOptions, ofOneFile, withTransfer } from "./progress.js";

export const get = filesCommand({
  command: "get <paths..>",
  describe: "copy files of the cluster to this machine",
  examples: [
    ["get /docs/report.pdf .", "one file into this folder"],
    ["get -rp /photos .", "a folder with all that is in it: ./photos"],
    ["get -rpu /photos/ ./album", "what is in it, as far as it is not there yet"],
  ],
  builder: (yargs) => copyingOptions(severalPaths(yargs, "PATH.. LOCAL")),
  run: async (job, args) => {
    const { files, signal, path } = job;
    const paths = args.paths.slice(0, -1);
    const last = args.paths.at(-1) ?? "";
    const into = job.local(last);
    const isInto = await isLocalFolder(into);
    if (!isInto && (last.endsWith("/") || paths.length > 1)) throw new UsageError(noFolder(into));
    if (!(await isLocalFolder(folderOf(into)))) throw new UsageError(noFolder(folderOf(into)));
    const once = eachOnce();
    return withTransfer(args, { paths: paths.length, signal }, (opts) =>
      forEach(
        job,
        paths,
        printable,
        async (text, failed) => {
          const at = path(text);
          const node = await files.stat(at);
          // What is in the folder is meant, not the folder.
          const isContent = args.recursive && text.endsWith("/") && isFolder(node);
          const local = isContent ? asFolder(into) : isInto ? inFolder(into, ownName(at)) : into;
          if (isInto && !isContent) once(ownName(at));
          if (args.recursive) return getTree(files, node, local, { ...opts, failed });
          await getFile(files, node, local, ofOneFile(opts));
          return opts.done(shownPath(at));
        },
        { sides: true },
      ),
    );
  },
});

function ownName(path: Path): Name {
  const name = path.at(-1);
  if (name !== undefined && name !== "..") return name;
  throw new FsError("EINVAL", "it has no name of its own here: give that of a new folder");
}

function noFolder(path: LocalPath): string {
  return `there is no folder ${shownLocal(path)}: make it first`;
}

async function isLocalFolder(path: LocalPath): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
