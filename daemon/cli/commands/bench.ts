import { resolve } from "node:path";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { FULL, LIMITS, QUICK, type Scale } from "../bench/scale.js";
import { EXIT, UsageError } from "../exit.js";
import { interruptible } from "../interrupt.js";
import { sizeOption } from "../shared-options.js";

export const command = "bench <folder>";
export const describe = "measure the filesystem of a folder, whichever it is";

export function builder(yargs: Argv) {
  return yargs
    .positional("folder", { type: "string", demandOption: true, describe: "what is made in it is removed again" })
    .option("big-size", { type: "string", describe: "the large file [default: 1GiB; 64MiB with --quick]; 0: none" })
    .option("block-size", { type: "string", default: "1MiB", describe: "one write or read of a large file" })
    .option("small-files", { type: "number", describe: "how many [default: 1000; 200 with --quick]; 0: none" })
    .option("small-size", { type: "string", default: "4KiB", describe: "one small file" })
    .option("threads", {
      alias: ["p", "parallel"],
      type: "number",
      default: 1,
      describe: "do all that as often at the same time, each with files of its own",
    })
    .option("quick", { type: "boolean", default: false, describe: "less of everything, for a first impression" })
    .option("drop-caches", {
      type: "boolean",
      default: false,
      describe: "empty the caches of this machine's kernel before reading (root)",
    })
    .option("json", { type: "boolean", default: false, describe: "for programs" })
    .example("$0 bench ./mnt --quick", "a mount, in seconds")
    .example("$0 bench /tmp -p 4", "the local disk, four threads")
    .example("$0 bench ./mnt --big-size 0 --json", "names and small files alone, as JSON");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const folder = resolve(args.folder);
  const scale = scaleOf(args);
  const threads = within("threads", args.threads, LIMITS.threads);
  const [{ runBench }, { pageOf, reportOf }, { showProgress }] = await Promise.all([
    import("../bench/run.js"),
    import("../bench/report.js"),
    import("../bench/progress.js"),
  ]);
  return interruptible(async (signal) => {
    const progress = showProgress();
    signal.addEventListener("abort", () => progress.say("interrupted: waits for the last call, and removes its files"));
    try {
      const { dropCaches } = args;
      const results = await runBench(folder, { scale, threads, dropCaches, signal, progress });
      progress.end();
      const run = { folder, threads, scale, results };
      process.stdout.write(`${args.json ? JSON.stringify(reportOf(run), null, 2) : pageOf(run)}\n`);
      return EXIT.done;
    } finally {
      progress.end();
    }
  });
}

function scaleOf(args: Args): Scale {
  const usual = args.quick ? QUICK : FULL;
  const size = (name: "bigSize" | "blockSize" | "smallSize", option: string, text: string | undefined): number =>
    text === undefined ? usual[name] : within(option, sizeOption(option, text), LIMITS[name]);
  const scale = {
    ...usual,
    bigSize: args.bigSize === "0" ? 0 : size("bigSize", "big-size", args.bigSize),
    blockSize: size("blockSize", "block-size", args.blockSize),
    smallFiles:
      args.smallFiles === 0 ? 0 : within("small-files", args.smallFiles ?? usual.smallFiles, LIMITS.smallFiles),
    smallSize: size("smallSize", "small-size", args.smallSize),
  };
  if (scale.bigSize === 0 && scale.smallFiles === 0) throw new UsageError("--big-size 0 --small-files 0 leave nothing");
  return scale;
}

function within(option: string, value: number, { min, max }: { readonly min: number; readonly max: number }): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new UsageError(`--${option}: give a whole number from ${min} to ${max}`);
}
