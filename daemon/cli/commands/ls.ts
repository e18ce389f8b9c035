import type { ArgumentsCamelCase, Argv } from "yargs";
import type { Entry, Files, Node } from "../../../mount/files/files.js";
import { type Path, parsePath, shownName, shownPath } from "../../../mount/files/path.js";
import { nameOf } from "../../../proto/name.js";
import { describeNode, longRow, typeOf } from "../file-lines.js";
import { forEach, withFiles, withVolume } from "../files-session.js";
import { table } from "../table.js";

export const command = "ls [paths..]";
export const describe = "list files of the cluster";

export function builder(yargs: Argv) {
  return withFiles(yargs)
    .positional("paths", { type: "string", array: true, default: ["/"], describe: "files and folders" })
    .option("long", { alias: "l", type: "boolean", default: false, describe: "mode, owner, size and time too" })
    .option("recursive", { alias: "R", type: "boolean", default: false, describe: "folders below as well" })
    .option("json", { type: "boolean", default: false, describe: "one JSON object a line, for programs" })
    .example("$0 ls -l /logs --data ./cluster", "what is in a folder");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  return withVolume(args, async (files, signal) => {
    const paths = args.paths.map((path) => parsePath(path, args.escaped));
    const isTitled = args.recursive || paths.length > 1;
    return forEach(paths, shownPath, async (path) => {
      const node = await files.stat(path);
      if (typeOf(node.attr) !== "folder")
        print([{ name: path.at(-1) ?? nameOf(Buffer.of()), node } as Entry], path.slice(0, -1), args);
      else await list(files, node, path, { ...args, isTitled, signal });
    });
  });
}

async function list(
  files: Files,
  folder: Node,
  path: Path,
  opts: { long: boolean; json: boolean; recursive: boolean; isTitled: boolean; signal: AbortSignal },
): Promise<void> {
  opts.signal.throwIfAborted();
  const entries = (await files.list(folder.ino)).sort((a, b) => (a.name < b.name ? -1 : 1));
  if (opts.isTitled && !opts.json) process.stdout.write(`${shownPath(path)}:\n`);
  print(entries, path, opts);
  if (opts.isTitled && !opts.json) process.stdout.write("\n");
  if (!opts.recursive) return;
  for (const { name, node } of entries) {
    if (typeOf(node.attr) === "folder") await list(files, node, [...path, name], opts);
  }
}

function print(entries: readonly Entry[], folder: Path, { long, json }: { long: boolean; json: boolean }): void {
  const text = json
    ? entries.map(({ name, node }) => JSON.stringify(describeNode([...folder, name], node.attr))).join("\n")
    : long
      ? table(entries.map(({ name, node }) => [...longRow(node.attr), shownName(name)]))
      : entries.map(({ name }) => shownName(name)).join("\n");
  if (entries.length > 0) process.stdout.write(`${text}\n`);
}
