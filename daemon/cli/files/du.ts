import { type Files, type Node, isFolder } from "../../../mount/files/files.js";
import { type Path, shownPath } from "../../../mount/files/path.js";
import { formatSize } from "../../common/sizes.js";
import { type Failed, JSON_OPTION, filesCommand, forEachPath } from "./job.js";

export const du = filesCommand({
  command: "du [paths..]",
  describe: "how much folders of the cluster hold",
  examples: [["du -s /home/ann /home/bob", "who needs how much"]],
  builder: (yargs) =>
    yargs
      .positional("paths", { type: "string", array: true, default: ["."], describe: "files and folders" })
      .option("summarize", { alias: "s", type: "boolean", default: false, describe: "of each path the sum alone" })
      .option("json", JSON_OPTION),
  run: (job, { paths, ...opts }) => {
    // A file with several names counts once.
    const seen = new Set<number>();
    return forEachPath(job, paths, async (at, failed) => {
      const { files, signal } = job;
      const show = (line: Path, sum: Sum): void => print(line, sum, opts.json);
      const node = await files.stat(at, { follow: false });
      const sum = await sumOf(files, { node, path: at }, { ...opts, signal, seen, show, failed });
      if (opts.summarize || !isFolder(node)) show(at, sum);
    });
  },
});

/** Of everything below: names of folders and of others, bytes as programs read them and as they are stored, once. */
interface Sum {
  folders: number;
  files: number;
  size: number;
  stored: number;
}

async function sumOf(
  files: Files,
  { node, path }: { readonly node: Node; readonly path: Path },
  opts: {
    readonly summarize: boolean;
    readonly signal: AbortSignal;
    readonly seen: Set<number>;
    readonly show: (path: Path, sum: Sum) => void;
    readonly failed: Failed;
  },
): Promise<Sum> {
  opts.signal.throwIfAborted();
  const { size, stored, nlink } = node.attr;
  if (!isFolder(node)) {
    const isKnown = opts.seen.has(node.ino);
    if (nlink > 1) opts.seen.add(node.ino);
    return isKnown ? { folders: 0, files: 1, size: 0, stored: 0 } : { folders: 0, files: 1, size, stored };
  }
  const sum = { folders: 1, files: 0, size: 0, stored: 0 };
  const entries = await files.list(node.ino).catch((error: unknown) => {
    opts.failed(shownPath(path), error);
    return [];
  });
  for (const entry of entries) {
    const below = await sumOf(files, { node: entry.node, path: [...path, entry.name] }, opts);
    for (const key of Object.keys(sum) as (keyof Sum)[]) sum[key] += below[key];
  }
  if (!opts.summarize) opts.show(path, sum);
  return sum;
}

function print(path: Path, sum: Sum, isJson: boolean): void {
  const shown = shownPath(path);
  const line = isJson
    ? JSON.stringify({ path: shown, ...sum })
    : `${formatSize(sum.stored).padStart(10)}  ${String(sum.files).padStart(8)} files  ${shown}`;
  process.stdout.write(`${line}\n`);
}
