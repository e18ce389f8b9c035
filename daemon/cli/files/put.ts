import { type Files, type Place, isFolder } from "../../../mount/files/files.js";
import { type LocalPath, asFolder, localName, shownLocal } from "../../../mount/files/local-path.js";
import { type Path, shownPath } from "../../../mount/files/path.js";
import { putFile } from "../../../mount/files/transfer.js";
import { putTree } from "../../../mount/files/trees.js";
import { fail } from "../../../proto/errno.js";
import { nameOf } from "../../../proto/name.js";
import { eachOnce, filesCommand, forEach, severalPaths } from "./job.js";
import { copyingOptions, ofOneFile, withTransfer } from "./progress.js";

/** `isContent`: what is in the folder is meant, not the folder. */
interface Local {
  readonly path: LocalPath;
  readonly isContent: boolean;
}

export const put = filesCommand({
  command: "put <paths..>",
  describe: "copy local files into the cluster",
  examples: [
    ["put report.pdf /docs/", "one file into a folder"],
    ["put -rp ./photos /", "a folder with all that is in it: /photos"],
    ["put -rpu ./photos/ /album", "what is in it, as far as it is not there yet"],
  ],
  writes: true,
  builder: (yargs) => copyingOptions(severalPaths(yargs, "LOCAL.. PATH")),
  run: async (job, args) => {
    const { files, signal, path } = job;
    const locals = args.paths.slice(0, -1).map((text) => {
      const isContent = args.recursive && text.endsWith("/");
      return { path: isContent ? asFolder(job.local(text)) : job.local(text), isContent };
    });
    const last = args.paths.at(-1) ?? "";
    const into = await destination(files, path(last), last.endsWith("/") || locals.length > 1);
    return withTransfer(args, { paths: locals.length, signal }, (opts) =>
      forEach(
        job,
        locals,
        (local) => shownLocal(local.path),
        async (local, failed) => {
          const place = await into(local);
          if (args.recursive) return putTree(files, local.path, place, { ...opts, failed });
          await putFile(files, local.path, place, ofOneFile(opts));
          return opts.done(shownLocal(local.path));
        },
        { sides: true },
      ),
    );
  },
});

/** Where each file goes: into the folder of that name if there is one (or must be), otherwise under that name. */
async function destination(files: Files, path: Path, mustBeFolder: boolean): Promise<(local: Local) => Promise<Place>> {
  const root = { dir: files.fs.root, name: nameOf(Buffer.alloc(0)) };
  const end = (await files.target(path)) ?? { ...root, node: await files.stat(path) };
  const folder = end.node !== undefined && isFolder(end.node) ? end.node : undefined;
  const once = eachOnce();
  return async (local) => {
    if (local.isContent || (folder === undefined && !mustBeFolder)) return end;
    if (end.node === undefined) fail("ENOENT", `${shownPath(path)} does not exist: 'mkdir' makes it`);
    if (folder === undefined) fail("ENOTDIR", `${shownPath(path)} is no folder`);
    const name = localName(local.path);
    once(name);
    return { dir: folder.ino, name, node: (await files.child(folder.ino, name))?.node };
  };
}
