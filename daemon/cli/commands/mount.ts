import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { hideBin } from "yargs/helpers";
import { DRIVERS, type Driver } from "../../../mount/driver.js";
import { parseListen } from "../../common/address.js";
import { systemClock } from "../../common/clock.js";
import { zoneProblem } from "../../common/labels.js";
import { createLog } from "../../common/log.js";
import { runDaemon } from "../daemonize.js";
import { printJson } from "../admin/json.js";
import { EXIT, UsageError } from "../exit.js";
import { interruptible } from "../interrupt.js";
import { located, printConfig, withConfig } from "../settings.js";
import {
  addressOption,
  clusterAddress,
  deadlinesWith,
  labelOption,
  required,
  sizeOption,
  withCluster,
  withDaemon,
} from "../shared-options.js";
import { SUPERVISED_ENV, spawnDaemon } from "../spawn.js";

export const command = "mount [mountpoint]";
export const describe = "show a cluster as a local folder";
const epilogue =
  "In the background a supervisor stays with the mount: when the process that serves it dies, another one takes over.";

export function builder(yargs: Argv) {
  const options = withCluster(withDaemon(yargs))
    .epilogue(epilogue)
    .positional("mountpoint", { type: "string", describe: "an empty folder; required" })
    .option("read-only", { type: "boolean", default: false, describe: "refuse every change" })
    .option("allow-other", { type: "boolean", default: false, describe: "let other users of this machine in" })
    .option("driver", { choices: DRIVERS, describe: "what binds to the kernel [default: own, else fuse-native]" })
    .option("cache", { type: "string", default: "64MiB", describe: "memory for data that was read" })
    .option("dirty", { type: "string", default: "64MiB", describe: "memory for data that is not stored yet" })
    .option("short-circuit", {
      type: "boolean",
      default: true,
      describe: "read chunks of storage daemons on this machine from their files, past the network",
    })
    .option("zone", {
      type: "string",
      describe: "storage daemons of this zone are read first [default: the host's name]",
    })
    .option("log", { type: "string", describe: "log file in the background [default: ~/.local/state/bigfs/mount.log]" })
    .option("foreground", {
      type: "boolean",
      default: false,
      describe: "stay until the folder is unmounted, without a supervisor",
    })
    .example("$0 mount /mnt/bigfs --meta 10.0.0.1:50052 --key cluster.key", "mount a cluster")
    .example("$0 mount ./second --data ./cluster", "mount once more what 'up' started")
    .example("$0 mount --config /etc/bigfs/mount.yaml", "options from a file");
  // Who names a cluster by its folder does not mean the one of the environment or the file.
  return withConfig(options, { hides: { data: ["meta", "key"] } }).option("json", {
    type: "boolean",
    default: false,
    describe: "say what was started in the background, for programs",
  });
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

/** The options that are checked before anything starts. */
function optionsOf(args: Args) {
  return {
    readOnly: args.readOnly,
    allowOther: args.allowOther,
    ...(args.driver === undefined ? {} : { driver: args.driver }),
    ...(args.meta === undefined ? {} : { meta: addressOption("meta", args.meta) }),
    ...(args.http === undefined ? {} : { http: addressOption("http", args.http, parseListen) }),
    cacheBytes: sizeOption("cache", args.cache),
    dirtyBytes: sizeOption("dirty", args.dirty),
    shortCircuit: args.shortCircuit,
    ...(args.zone === undefined ? {} : { zone: labelOption("zone", args.zone, zoneProblem) }),
    deadlines: deadlinesWith(args.deadline),
  };
}

export async function handler(args: Args): Promise<number> {
  if (args.printConfig) return printConfig(args, optionsOf);
  if (args.foreground && args.json) {
    throw new UsageError("--json tells what was started in the background: leave --foreground out");
  }
  return args.foreground ? foreground(args) : interruptible((signal) => background(args, signal));
}

async function foreground(args: Args): Promise<number> {
  const log = createLog("mount", args.logLevel);
  const { [SUPERVISED_ENV]: supervised } = process.env;
  if (supervised === "wanted" && (await isOwnDriver(args.driver))) {
    const { supervise } = await import("../supervise.js");
    const deadlines = deadlinesWith(args.deadline);
    return supervise({ clock: systemClock, log, deadlines }, hideBin(process.argv));
  }
  return runDaemon(log, async () => {
    const options = located(args, optionsOf);
    const mountpoint = resolve(required("mountpoint", args.mountpoint));
    const address = await clusterAddress(args);
    const { startMount } = await import("../../../mount/mount.js");
    const keeper = supervised === undefined ? undefined : await (await import("../keeper.js")).supervisor();
    return startMount({
      ...options,
      ...address,
      ...(keeper === undefined ? {} : { keeper }),
      mountpoint,
      log,
      clock: systemClock,
    });
  });
}

/** Only the own binding can go on with what another process has mounted. */
async function isOwnDriver(wish: Driver | undefined): Promise<boolean> {
  const { addonIfBuilt } = await import("../../../mount/kernel/addon.js");
  return wish !== "fuse-native" && addonIfBuilt() !== undefined;
}

async function background(args: Args, signal: AbortSignal): Promise<number> {
  const path = (option: string, value: string | undefined) =>
    value === undefined ? [] : [`--${option}`, resolve(value)];
  const text = (option: string, value: string | undefined) => (value === undefined ? [] : [`--${option}`, value]);
  // Checked here, so that a mistake is told as one.
  located(args, optionsOf);
  const mountpoint = resolve(required("mountpoint", args.mountpoint));
  await clusterAddress(args);
  const log = resolve(args.log ?? join(homedir(), ".local/state/bigfs/mount.log"));
  const { pid } = await spawnDaemon(
    [
      "mount",
      mountpoint,
      "--foreground",
      ...text("meta", args.meta),
      ...path("key", args.key),
      ...path("data", args.data),
      ...text("http", args.http),
      ...text("zone", args.zone),
      ...text("driver", args.driver),
      ...(args.readOnly ? ["--read-only"] : []),
      ...(args.allowOther ? ["--allow-other"] : []),
      ...(args.shortCircuit ? [] : ["--no-short-circuit"]),
      ...["--cache", args.cache, "--dirty", args.dirty, "--log-level", args.logLevel],
      ...args.deadline.flatMap((change) => ["--deadline", change]),
    ],
    log,
    signal,
  );
  if (args.json) printJson({ mountpoint, pid, log });
  return EXIT.done;
}
