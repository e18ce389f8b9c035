import { join } from "node:path";
import { packageRoot } from "./package-root.js";
import { must, sh } from "./run.js";

/** Real source trees that every checkout has: together several thousand files. */
const PACKAGES = ["@typescript-eslint", "@grpc", "zod", "eslint"];

/** Makes a folder `tree` of these packages, zod among them, with links and odd modes in `dir`, and `tree.tar` of it. */
export async function sourceTree(
  dir: string,
  packages: readonly string[] = PACKAGES,
): Promise<{ tree: string; tar: string; files: number }> {
  const tree = join(dir, "tree");
  await must("mkdir", ["-p", tree]);
  for (const name of packages) await must("cp", ["-a", join(packageRoot, "node_modules", name), tree]);
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

/** How much of the times a listing tells: so many digits after the second. */
export type TimeDigits = 9 | 3 | "none";

/** One line for each entry: type, mode, size (not of folders), mtime, link target, path. */
export async function listing(tree: string, digits: TimeDigits = 9): Promise<string> {
  const time = digits === "none" ? "" : String.raw`\2.\3 `;
  return sh(
    String.raw`find . \( -type d -printf '%y %m - %T@ %l %p\n' \) -o -printf '%y %m %s %T@ %l %p\n' |
      sed -E 's/^(\S+ \S+ \S+ )(-?[0-9]+)\.([0-9]{${digits === "none" ? 0 : digits}})[0-9]* /\1${time}/' | LC_ALL=C sort`,
    { cwd: tree },
  );
}
