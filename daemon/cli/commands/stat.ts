import type { ArgumentsCamelCase, Argv } from "yargs";
import { parsePath, shownPath } from "../../../mount/files/path.js";
import { describeNode, modeText, timeText, typeOf } from "../file-lines.js";
import { forEach, withFiles, withVolume } from "../files-session.js";
import { table } from "../table.js";

export const command = "stat <paths..>";
export const describe = "attributes of files of the cluster";

export function builder(yargs: Argv) {
  return withFiles(yargs)
    .positional("paths", { type: "string", array: true, demandOption: true, describe: "files and folders" })
    .option("json", { type: "boolean", default: false, describe: "one JSON object a line, for programs" })
    .example("$0 stat /logs/today --data ./cluster", "size, mode, owner and times");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const paths = args.paths.map((path) => parsePath(path, args.escaped));
  return withVolume(args, (files) =>
    forEach(paths, shownPath, async (path) => {
      const { attr } = await files.stat(path, { follow: false });
      if (args.json) {
        process.stdout.write(`${JSON.stringify(describeNode(path, attr))}\n`);
        return;
      }
      const rows = [
        ["path", shownPath(path)],
        ["type", typeOf(attr)],
        ["inode", `${attr.ino}`],
        ["mode", `${modeText(attr)} (${(attr.mode & 0o7777).toString(8)})`],
        ["owner", `${attr.uid}:${attr.gid}`],
        ["links", `${attr.nlink}`],
        ["size", `${attr.size} bytes, ${attr.stored} stored`],
        ["modified", timeText(attr.mtime)],
        ["changed", timeText(attr.ctime)],
        ["read", timeText(attr.atime)],
        ["made", timeText(attr.btime)],
      ];
      process.stdout.write(`${table(rows)}\n`);
    }),
  );
}
