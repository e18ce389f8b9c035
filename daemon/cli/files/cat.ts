import { once } from "node:events";
import { isFile, isFolder } from "../../../mount/files/files.js";
import { fail } from "../../../proto/errno.js";
import { filesCommand, forEachPath } from "./job.js";

export const cat = filesCommand({
  command: "cat <paths..>",
  describe: "write files of the cluster to the output",
  examples: [["cat /logs/today", "the content of a file"]],
  builder: (yargs) => yargs.positional("paths", { type: "string", array: true, demandOption: true, describe: "files" }),
  run: (job, args) =>
    forEachPath(job, args.paths, async (at) => {
      const { files, signal } = job;
      const node = await files.stat(at);
      if (isFolder(node)) fail("EISDIR", "it is a folder: 'ls' shows what is in it");
      if (!isFile(node)) fail("EINVAL", "it is neither a file nor a folder");
      for await (const piece of files.read(node)) {
        signal.throwIfAborted();
        if (!process.stdout.write(piece)) await once(process.stdout, "drain", { signal });
      }
    }),
});
