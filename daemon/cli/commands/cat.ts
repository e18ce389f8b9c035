import { once } from "node:events";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { parsePath, shownPath } from "../../../mount/files/path.js";
import { forEach, withFiles, withVolume } from "../files-session.js";

export const command = "cat <paths..>";
export const describe = "write files of the cluster to the output";

export function builder(yargs: Argv) {
  return withFiles(yargs)
    .positional("paths", { type: "string", array: true, demandOption: true, describe: "files" })
    .example("$0 cat /logs/today --data ./cluster | tail", "the content of a file");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const paths = args.paths.map((path) => parsePath(path, args.escaped));
  return withVolume(args, (files, signal) =>
    forEach(paths, shownPath, async (path) => {
      for await (const piece of files.read(await files.stat(path))) {
        signal.throwIfAborted();
        if (!process.stdout.write(piece)) await once(process.stdout, "drain");
      }
    }),
  );
}
