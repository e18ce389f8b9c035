import { join } from "node:path";
import { packageRoot } from "./package-root.js";
import { must, sh } from "./run.js";

/** Real source trees that every checkout has: together several thousand files. */
const PACKAGES = ["@typescript-eslint", "@grpc", "zod", "@tapjs", "eslint"];

/** Makes a folder `tree` with several thousand files, links and odd modes in `dir`, and `tree.tar` of it. */
export async function sourceTree(dir: string): Promise<{ tree: string; tar: string; files: number }> {
  const tree = join(dir, "tree");
  await must("mkdir", ["-p", tree]);
  for (const name of PACKAGES) await must("cp", ["-a", join(packageRoot, "node_modules", name), tree]);
  await sh(
    "ln -s zod link; ln -s nowhere dangling; chmod 600 zod/package.json; chmod 4755 zod/LICENSE; ln zod/LICENSE hard",
    {
      cwd: tree,
    },
  );
  await must("touch", ["-d", "1999-12-31 23:59:59.123456789", join(tree, "zod", "package.json")]);
  const tar = join(dir, "tree.tar");
  await must("tar", ["--format=posix", "-cf", tar, "-C", tree, "."]);
  return { tree, tar, files: Number(await sh("find . | wc -l", { cwd: tree })) };
}

/** One line for each entry: type, mode, size (not of folders), mtime in nanoseconds, link target, path. */
export async function listing(tree: string): Promise<string> {
  return sh(
    String.raw`find . \( -type d -printf '%y %m - %T@ %l %p\n' \) -o -printf '%y %m %s %T@ %l %p\n' | LC_ALL=C sort`,
    { cwd: tree },
  );
}
