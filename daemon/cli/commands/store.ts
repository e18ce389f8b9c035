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
    .option("data", { type: "string", describe: "folder of the chunks; required" })
    .option("meta", { type: "string", describe: "address of the metadata daemon, HOST:PORT [env BIGFS_META]" })
    .option("listen", { type: "string", default: "127.0.0.1:50051", describe: "HOST:PORT to serve on" })
    .option("advertise", { type: "string", describe: "HOST:PORT that others reach it by [default: where it listens]" })
    .option("key", { type: "string", describe: "file with the cluster key [env BIGFS_KEY]" })
    .option("zone", { type: "string", describe: "copies of a chunk go to different zones [default: the host's name]" })
    .option("name", { type: "string", describe: "for people [default: HOST:PORT]" })
    .option("capacity", { type: "string", describe: "most that chunks may take [default: the whole disk]" })
    .option("reserve", { type: "string", default: "64MiB", describe: "space of the disk that stays free" })
    .example("$0 store --data /srv/disk1 --meta 127.0.0.1:50052 --key cluster.key", "add a disk to a cluster")
    .example("$0 store --config /etc/bigfs/store.yaml --print-config", "check a configuration file");
  return withConfig(options);
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

export async function handler(args: Args): Promise<number> {
  if (args.printConfig) return printConfig(args, optionsOf);
  const log = createLog("store", args.logLevel);
  return runDaemon(log, async () => {
    const options = located(args, optionsOf);
    const { startStore } = await import("../../store/daemon.js");
    return startStore({
      ...options,
      data: resolve(required("data", args.data)),
      meta: required("meta", options.meta),
      key: await clusterKey(args.key, undefined),
      log,
      clock: systemClock,
    });
  });
}
