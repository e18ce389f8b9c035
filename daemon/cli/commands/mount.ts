import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { systemClock } from "../../common/clock.js";
import { createLog } from "../../common/log.js";
import { runDaemon } from "../daemonize.js";
import { EXIT } from "../exit.js";
import { clusterAddress, deadlinesWith, sizeOption, withCluster, withDaemon } from "../shared-options.js";
import { spawnDaemon } from "../spawn.js";

export const command = "mount <mountpoint>";
export const describe = "show a cluster as a local folder";

export function builder(yargs: Argv) {
  return withCluster(withDaemon(yargs))
    .positional("mountpoint", { type: "string", demandOption: true, describe: "an empty folder" })
    .option("read-only", { type: "boolean", default: false, describe: "refuse every change" })
    .option("allow-other", { type: "boolean", default: false, describe: "let other users of this machine in" })
    .option("cache", { type: "string", default: "64MiB", describe: "memory for data that was read" })
    .option("dirty", { type: "string", default: "64MiB", describe: "memory for data that is not stored yet" })
    .option("short-circuit", {
      type: "boolean",
      default: true,
      describe: "exchange data with storage daemons on this machine through files and memory",
    })
    .option("log", { type: "string", describe: "log file in the background [default: ~/.local/state/bigfs/mount.log]" })
    .option("foreground", { type: "boolean", default: false, describe: "stay until the folder is unmounted" })
    .example("$0 mount /mnt/bigfs --meta 10.0.0.1:50052 --key cluster.key", "mount a cluster")
    .example("$0 mount ./second --data ./cluster", "mount once more what 'up' started");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  return args.foreground ? foreground(args) : background(args);
}

async function foreground(args: Args): Promise<number> {
  const log = createLog("mount", args.logLevel);
  return runDaemon(log, async () => {
    const address = await clusterAddress(args);
    const { startMount } = await import("../../../mount/mount.js");
    return startMount({
      mountpoint: resolve(args.mountpoint),
      ...address,
      readOnly: args.readOnly,
      allowOther: args.allowOther,
      ...(args.http === undefined ? {} : { http: args.http }),
      cacheBytes: sizeOption("cache", args.cache),
      dirtyBytes: sizeOption("dirty", args.dirty),
      shortCircuit: args.shortCircuit,
      deadlines: deadlinesWith(args.deadline),
      log,
      clock: systemClock,
    });
  });
}

async function background(args: Args): Promise<number> {
  const path = (option: string, value: string | undefined) =>
    value === undefined ? [] : [`--${option}`, resolve(value)];
  const text = (option: string, value: string | undefined) => (value === undefined ? [] : [`--${option}`, value]);
  // Checked here, so that a mistake is told as one.
  deadlinesWith(args.deadline);
  sizeOption("cache", args.cache);
  sizeOption("dirty", args.dirty);
  await clusterAddress(args);
  await spawnDaemon(
    [
      "mount",
      resolve(args.mountpoint),
      "--foreground",
      ...text("meta", args.meta),
      ...path("key", args.key),
      ...path("data", args.data),
      ...text("http", args.http),
      ...(args.readOnly ? ["--read-only"] : []),
      ...(args.allowOther ? ["--allow-other"] : []),
      ...(args.shortCircuit ? [] : ["--no-short-circuit"]),
      ...["--cache", args.cache, "--dirty", args.dirty, "--log-level", args.logLevel],
      ...args.deadline.flatMap((change) => ["--deadline", change]),
    ],
    resolve(args.log ?? join(homedir(), ".local/state/bigfs/mount.log")),
  );
  return EXIT.done;
}
