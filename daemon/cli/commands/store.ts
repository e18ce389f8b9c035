import { resolve } from "node:path";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { parseListen } from "../../common/address.js";
import { systemClock } from "../../common/clock.js";
import { nameProblem, zoneProblem } from "../../common/labels.js";
import { createLog } from "../../common/log.js";
import { runDaemon } from "../daemonize.js";
import { located, printConfig, withConfig } from "../settings.js";
import {
  addressOption,
  clusterKey,
  deadlinesWith,
  labelOption,
  required,
  sizeOption,
  withDaemon,
} from "../shared-options.js";

export const command = "store";
export const describe = "run a storage daemon";

export function builder(yargs: Argv) {
  const options = withDaemon(yargs)
    .option("data", {
      type: "string",
      array: true,
      describe: "folder of the chunks, one for each disk, each a node of its own; required",
    })
    .option("replaced", {
      type: "boolean",
      default: false,
      describe: "a data folder that is empty and was a node before is a new one: its disk was replaced",
    })
    .option("meta", { type: "string", describe: "address of the metadata daemon, HOST:PORT [env BIGFS_META]" })
    .option("listen", { type: "string", default: "127.0.0.1:50051", describe: "HOST:PORT to serve on" })
    .option("advertise", { type: "string", describe: "HOST:PORT that others reach it by [default: where it listens]" })
    .option("key", { type: "string", describe: "file with the cluster key [env BIGFS_KEY]" })
    .option("zone", { type: "string", describe: "copies of a chunk go to different zones [default: the host's name]" })
    .option("name", { type: "string", describe: "for people [default: HOST:PORT]" })
    .option("capacity", { type: "string", describe: "most that chunks may take [default: the whole disk]" })
    .option("reserve", { type: "string", default: "64MiB", describe: "space of the disk that stays free" })
    .example("$0 store --data /srv/disk1 --meta 127.0.0.1:50052 --key cluster.key", "add a disk to a cluster")
    .example("$0 store --data /srv/disk1 --data /srv/disk2 --meta ...", "several disks on one port")
    .example("$0 store --config /etc/bigfs/store.yaml --print-config", "check a configuration file");
  // Not joined with those of a file: whoever names folders means these.
  return withConfig(options, { hides: { data: ["data"] } });
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

/** The options that are checked before anything starts. */
function optionsOf(args: Args) {
  return {
    listen: addressOption("listen", args.listen),
    reserve: sizeOption("reserve", args.reserve),
    ...(args.advertise === undefined ? {} : { advertise: addressOption("advertise", args.advertise) }),
    ...(args.http === undefined ? {} : { http: addressOption("http", args.http, parseListen) }),
    ...(args.zone === undefined ? {} : { zone: labelOption("zone", args.zone, zoneProblem) }),
    ...(args.name === undefined ? {} : { name: labelOption("name", args.name, nameProblem) }),
    ...(args.capacity === undefined ? {} : { capacity: sizeOption("capacity", args.capacity) }),
    ...(args.meta === undefined ? {} : { meta: addressOption("meta", args.meta) }),
    deadlines: deadlinesWith(args.deadline),
  };
}

/** The data folders, absolute; one at least. */
function foldersOf(data: readonly string[] | undefined): string[] {
  const [first, ...others] = data ?? [];
  return [required("data", first), ...others].map((folder) => resolve(required("data", folder)));
}

export async function handler(args: Args): Promise<number> {
  if (args.printConfig) return printConfig(args, optionsOf);
  const log = createLog("store", args.logLevel);
  return runDaemon(log, async () => {
    const options = located(args, optionsOf);
    const { startStore } = await import("../../store/daemon.js");
    return startStore({
      ...options,
      data: foldersOf(args.data),
      replaced: args.replaced,
      meta: required("meta", options.meta),
      key: await clusterKey(args.key, undefined),
      log,
      clock: systemClock,
    });
  });
}
