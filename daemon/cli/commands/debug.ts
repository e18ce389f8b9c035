import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { systemClock } from "../../common/clock.js";
import { StartupError } from "../../common/running.js";
import { printJson, withJson } from "../admin/json.js";
import { defineCommand } from "../command.js";
import { collect } from "../debug/collect.js";
import { EXIT } from "../exit.js";
import { interruptible } from "../interrupt.js";

export const debug = defineCommand({
  command: "debug",
  describe: "pack what helps to find a fault into one file; no key, no names or content of files",
  builder: (yargs) =>
    withJson(yargs)
      .option("output", { type: "string", default: "bigfs-debug.tar.gz", describe: "file to write, a new one" })
      .example("$0 debug --data ./cluster", "versions, findings of doctor, state, processes, ends of the logs")
      .example("$0 debug --meta 10.0.0.1:50052 --key cluster.key --output /tmp/fault.tar.gz", "without logs")
      .epilogue("Look into it before you send it: tar -xzf FILE"),
  run: async (args) => {
    const data = args.data === undefined ? undefined : resolve(args.data);
    const file = resolve(args.output);
    return interruptible(async (signal) => {
      const wanted = { meta: args.meta, key: args.key, data, disk: [], signal };
      const contents = await pack(file, { make: () => collect(wanted, systemClock), signal });
      if (args.json) printJson({ file, contents });
      else process.stdout.write(`${file}\n`);
      return EXIT.done;
    });
  },
});

/** Writes what `make` gives as a compressed tar file, readable for this user alone; the names in it. */
async function pack(
  file: string,
  { make, signal }: { readonly make: () => Promise<ReadonlyMap<string, string>>; readonly signal: AbortSignal },
): Promise<string[]> {
  const output = await open(file, "wx", 0o600).catch((cause: unknown) => {
    const why = (cause as NodeJS.ErrnoException).code === "EEXIST" ? "it is there already" : (cause as Error).message;
    throw new StartupError(`cannot write ${file}: ${why}`, { hint: "give another file with --output FILE", cause });
  });
  const folder = await mkdtemp(join(tmpdir(), "bigfs-debug-"));
  try {
    const contents = await make();
    for (const [name, content] of contents) {
      const path = join(folder, "bigfs-debug", name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
    }
    await tar(folder, output.fd);
    signal.throwIfAborted();
    return [...contents.keys()].sort();
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    await output.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function tar(folder: string, output: number): Promise<void> {
  const child = spawn("tar", ["-c", "-z", "-f", "-", "-C", folder, "bigfs-debug"], {
    stdio: ["ignore", output, "inherit"],
  });
  const hint = "tar and gzip must be installed, and the disk of the file must have space";
  const [code] = (await once(child, "exit").catch((cause: unknown) => {
    throw new StartupError(`tar cannot be run: ${(cause as Error).message}`, { hint, cause });
  })) as [number | null];
  if (code !== 0) throw new StartupError(`tar failed with exit code ${code}`, { hint });
}
