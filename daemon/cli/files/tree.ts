import { type Files, isFolder } from "../../../mount/files/files.js";
import { type Path, shownName, shownPath } from "../../../mount/files/path.js";
import { fail } from "../../../proto/errno.js";
import { type Failed, JSON_OPTION, filesCommand, forEachPath } from "./job.js";
import { counted, describeNode } from "./lines.js";

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
  run: (job, { paths, ...opts }) => {
    return forEachPath(job, paths, async (at, failed) => {
      const { files, signal } = job;
      const counts = { folders: 0, files: 0 };
      const node = await files.stat(at);
      if (!isFolder(node)) fail("ENOTDIR", "it is no folder");
      if (!opts.json) process.stdout.write(`${shownPath(at)}\n`);
      await show(
        files,
        { ino: node.ino, path: at, indent: "", depth: opts.depth },
        { ...opts, signal, counts, failed },
      );
      if (!opts.json)
        process.stdout.write(`\n${counted(counts.folders, "folder")}, ${counted(counts.files, "file")}\n`);
    });
  },
});

async function show(
  files: Files,
  { ino, path, indent, depth }: { ino: number; path: Path; indent: string; depth: number },
  opts: { json: boolean; signal: AbortSignal; counts: { folders: number; files: number }; failed: Failed },
): Promise<void> {
  opts.signal.throwIfAborted();
  const entries = await files.list(ino).catch((error: unknown) => {
    opts.failed(shownPath(path), error);
    return [];
  });
  for (const [i, { name, node }] of entries.entries()) {
    const isLast = i === entries.length - 1;
    const at = [...path, name];
    const line = opts.json
      ? JSON.stringify(describeNode(at, await files.withTarget(node)))
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
