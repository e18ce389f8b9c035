import type { Entry, Files, Node } from "../../../mount/files/files.js";
import { type Path, shownName, shownPath } from "../../../mount/files/path.js";
import { nameOf } from "../../../proto/name.js";
import { table } from "../table.js";
import { JSON_OPTION, filesCommand, forEach } from "./job.js";
import { describeNode, longRow, typeOf } from "./lines.js";

export const ls = filesCommand({
  command: "ls [paths..]",
  describe: "list files of the cluster",
  examples: [["ls -l /logs", "what is in a folder"]],
  builder: (yargs) =>
    yargs
      .positional("paths", { type: "string", array: true, default: ["."], describe: "files and folders" })
      .option("long", { alias: "l", type: "boolean", default: false, describe: "mode, owner, size and time too" })
      .option("recursive", { alias: "R", type: "boolean", default: false, describe: "folders below as well" })
      .option("json", JSON_OPTION),
  run: ({ files, signal, path }, args) => {
    const paths = args.paths.map(path);
    const isTitled = args.recursive || paths.length > 1;
    return forEach(paths, shownPath, async (at) => {
      const node = await files.stat(at);
      if (typeOf(node.attr) !== "folder")
        print([{ name: at.at(-1) ?? nameOf(Buffer.of()), node } as Entry], at.slice(0, -1), args);
      else await list(files, node, at, { ...args, isTitled, signal });
    });
  },
});

async function list(
  files: Files,
  folder: Node,
  path: Path,
  opts: { long: boolean; json: boolean; recursive: boolean; isTitled: boolean; signal: AbortSignal },
): Promise<void> {
  opts.signal.throwIfAborted();
  const entries = await files.list(folder.ino);
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
