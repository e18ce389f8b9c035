import { type Files, type Node, isFolder, isLink } from "../../../mount/files/files.js";
import { type Path, shownName, shownPath } from "../../../mount/files/path.js";
import { table } from "../table.js";
import { type Failed, JSON_OPTION, filesCommand, forEachPath } from "./job.js";
import { describeNode, longRow } from "./lines.js";

export const ls = filesCommand({
  command: "ls [paths..]",
  describe: "list files of the cluster",
  examples: [
    ["ls -l /logs", "what is in a folder"],
    ["ls --json -R /logs", "everything below it, for a program"],
  ],
  builder: (yargs) =>
    yargs
      .positional("paths", { type: "string", array: true, default: ["."], describe: "files and folders" })
      .option("long", {
        alias: "l",
        type: "boolean",
        default: false,
        describe: "mode, number of names, owner, group, size and time too, and where links lead",
      })
      .option("recursive", { alias: "R", type: "boolean", default: false, describe: "folders below as well" })
      .option("json", JSON_OPTION),
  run: (job, args) => {
    const isTitled = args.recursive || args.paths.length > 1;
    return forEachPath(job, args.paths, async (at, failed, text) => {
      const { files, signal } = job;
      const own = await files.stat(at, { follow: false });
      // A long listing of a link tells of the link.
      const isMeant = !isLink(own) || (args.long && !text.endsWith("/"));
      const node = isMeant ? own : await files.stat(at);
      if (isFolder(node)) return list(files, node, at, { ...args, isTitled, signal, failed });
      const name = isTitled ? shownPath(at) : shownPath(at.slice(-1)).slice(1);
      return print(files, [{ name, path: at, node }], args);
    });
  },
});

async function list(
  files: Files,
  folder: Node,
  path: Path,
  opts: { long: boolean; json: boolean; recursive: boolean; isTitled: boolean; signal: AbortSignal; failed: Failed },
): Promise<void> {
  opts.signal.throwIfAborted();
  const entries = await files.list(folder.ino).catch((error: unknown) => {
    opts.failed(shownPath(path), error);
    return [];
  });
  if (opts.isTitled && !opts.json) process.stdout.write(`${shownPath(path)}:\n`);
  const things = entries.map(({ name, node }) => ({ name: shownName(name), path: [...path, name], node }));
  await print(files, things, opts);
  if (opts.isTitled && !opts.json) process.stdout.write("\n");
  if (!opts.recursive) return;
  for (const { name, node } of entries) {
    if (isFolder(node)) await list(files, node, [...path, name], opts);
  }
}

/** `name`: of a path that was given with others, all of it. */
async function print(
  files: Files,
  things: readonly { readonly name: string; readonly path: Path; readonly node: Node }[],
  { long, json }: { long: boolean; json: boolean },
): Promise<void> {
  if (things.length === 0) return;
  const known = [];
  for (const thing of things) known.push(long || json ? { ...thing, node: await files.withTarget(thing.node) } : thing);
  const lines = json
    ? known.map(({ path, node }) => JSON.stringify(describeNode(path, node)))
    : long
      ? [table(known.map(({ name, node }) => longRow(name, node)))]
      : known.map(({ name }) => name);
  process.stdout.write(`${lines.join("\n")}\n`);
}
