import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { inFolder, localPath } from "../../../mount/files/local-path.js";
import { type Path, shownPath } from "../../../mount/files/path.js";
import { getFile } from "../../../mount/files/transfer.js";
import { getTree } from "../../../mount/files/trees.js";
import { FsError } from "../../../proto/errno.js";
import type { Name } from "../../../proto/name.js";
import { UsageError } from "../exit.js";
import { complain, filesCommand, forEach, severalPaths } from "./job.js";
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
  run: async ({ files, signal, path }, args) => {
    const paths = args.paths.slice(0, -1).map((text) => ({
      at: path(text),
      // What is in the folder is meant, not the folder.
      isContent: args.recursive && text.endsWith("/"),
    }));
    const last = args.paths.at(-1) ?? "";
    const into = localPath(resolve(last));
    const isInto = await isLocalFolder(last);
    if (!isInto && (last.endsWith("/") || paths.length > 1)) throw new UsageError(`${last} is no folder`);
    if (!(await isLocalFolder(dirname(resolve(last)))))
      throw new UsageError(`there is no folder ${dirname(resolve(last))}: make it first`);
    return withTransfer(args, { paths: paths.length, signal }, (opts) =>
      forEach(
        paths,
        ({ at }) => shownPath(at),
        async ({ at, isContent }) => {
          const node = await files.stat(at);
          const local = isInto && !isContent ? inFolder(into, ownName(at)) : into;
          if (args.recursive) return getTree(files, node, local, { ...opts, failed: complain });
          await getFile(files, node, local, ofOneFile(opts));
          opts.done(shownPath(at));
          return 0;
        },
      ),
    );
  },
});

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
