import { type Files, isFolder } from "../../../mount/files/files.js";
import { type Path, shownName, shownPath } from "../../../mount/files/path.js";
import { JSON_OPTION, filesCommand, forEach } from "./job.js";
import { describeNode } from "./lines.js";

export const tree = filesCommand({
  command: "tree [paths..]",
  describe: "show folders of the cluster with all that is in them",
  examples: [["tree -L 2 /projects", "two levels of a folder"]],
  builder: (yargs) =>
    yargs
      .positional("paths", { type: "string", array: true, default: ["."], describe: "folders" })
      .option("depth", { alias: "L", type: "number", default: Infinity, describe: "so many levels at most" })
      .option("json", JSON_OPTION)
      .check(({ depth }) => (depth >= 1 ? true : "--depth wants a number from 1 on")),
  run: ({ files, signal, path }, { paths, ...opts }) => {
    const counts = { folders: 0, files: 0 };
    return forEach(paths.map(path), shownPath, async (at) => {
      const { ino } = await files.stat(at);
      if (!opts.json) process.stdout.write(`${shownPath(at)}\n`);
      await show(files, { ino, path: at, indent: "", depth: opts.depth }, { ...opts, signal, counts });
      if (!opts.json) process.stdout.write(`\n${counts.folders} folders, ${counts.files} files\n`);
    });
  },
});

async function show(
  files: Files,
  { ino, path, indent, depth }: { ino: number; path: Path; indent: string; depth: number },
  opts: { json: boolean; signal: AbortSignal; counts: { folders: number; files: number } },
): Promise<void> {
  opts.signal.throwIfAborted();
  const entries = await files.list(ino);
  for (const [i, { name, node }] of entries.entries()) {
    const isLast = i === entries.length - 1;
    const at = [...path, name];
    const line = opts.json
      ? JSON.stringify(describeNode(at, node.attr))
      : `${indent}${isLast ? "└── " : "├── "}${shownName(name)}`;
    process.stdout.write(`${line}\n`);
    if (!isFolder(node)) {
      opts.counts.files++;
      continue;
    }
    opts.counts.folders++;
    const below = { ino: node.ino, path: at, indent: `${indent}${isLast ? "    " : "│   "}`, depth: depth - 1 };
    if (depth > 1) await show(files, below, opts);
  }
}
