import { resolve } from "node:path";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { LIMITS } from "../../../proto/limits.js";
import { parseListen } from "../../common/address.js";
import { systemClock } from "../../common/clock.js";
import { createLog } from "../../common/log.js";
import { runDaemon } from "../daemonize.js";
import { OptionError } from "../exit.js";
import { located, printConfig, withConfig } from "../settings.js";
import { addressOption, clusterKey, deadlinesWith, required, sizeOption, withDaemon } from "../shared-options.js";

export const command = "meta";
export const describe = "run the metadata daemon";

const KEEP_MAX = 1000;

/** Options of what may make a volume. */
export function withShape<T>(yargs: Argv<T>) {
  return yargs
    .option("chunk-size", {
      type: "string",
      default: "1MiB",
      describe: "of a new volume: 64KiB to 4MiB, a power of two",
    })
    .option("replicas", { type: "number", default: 2, describe: "of a new volume: copies of each chunk" })
    .option("min-replicas", {
      type: "number",
      describe: "of a new volume: copies that must stand before a write is acknowledged [default: all]",
    });
}

export function builder(yargs: Argv) {
  const options = withShape(withDaemon(yargs))
    .option("data", { type: "string", describe: "folder of the metadata; required" })
    .option("listen", { type: "string", default: "127.0.0.1:50052", describe: "HOST:PORT to serve on" })
    .option("key", { type: "string", describe: "file with the cluster key [env BIGFS_KEY]" })
    .option("cache", {
      type: "string",
      default: "48MiB",
      describe: "memory for metadata that was used; a small file takes about 3 KiB of it",
    })
    .option("backup-keep", {
      type: "number",
      default: 2,
      describe: "snapshots of the metadata that storage nodes keep, with the log of commits behind each; 0: none",
    })
    .example("$0 meta --data /srv/bigfs/meta --key cluster.key", "serve on 127.0.0.1:50052")
    .example("$0 meta --config /etc/bigfs/meta.yaml --print-config", "check a configuration file");
  return withConfig(options);
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

/** The options that are checked before anything starts. */
function optionsOf(args: Args) {
  return {
    listen: addressOption("listen", args.listen),
    ...(args.http === undefined ? {} : { http: addressOption("http", args.http, parseListen) }),
    cacheBytes: sizeOption("cache", args.cache),
    create: volumeShape(args),
    deadlines: deadlinesWith(args.deadline),
    backupKeep: keepOption(args.backupKeep),
  };
}

export async function handler(args: Args): Promise<number> {
  if (args.printConfig) return printConfig(args, optionsOf);
  const log = createLog("meta", args.logLevel);
  return runDaemon(log, async () => {
    const options = located(args, optionsOf);
    const { startMeta } = await import("../../meta/daemon.js");
    return startMeta({
      ...options,
      data: resolve(required("data", args.data)),
      key: await clusterKey(args.key, undefined),
      log,
      clock: systemClock,
    });
  });
}

function keepOption(keep: number): number {
  if (Number.isInteger(keep) && keep >= 0 && keep <= KEEP_MAX) return keep;
  throw new OptionError("backup-keep", keep, `give a whole number from 0 to ${KEEP_MAX}`);
}

/** The shape of a new volume, checked. */
export function volumeShape(args: { chunkSize: string; replicas: number; minReplicas?: number | undefined }) {
  const chunkSize = sizeOption("chunk-size", args.chunkSize);
  const power = Number.isInteger(Math.log2(chunkSize));
  if (!power || chunkSize < LIMITS.chunkSizeMin || chunkSize > LIMITS.chunkSizeMax) {
    throw new OptionError("chunk-size", args.chunkSize, "give a power of two from 64KiB to 4MiB");
  }
  const { replicas, minReplicas = replicas } = args;
  if (!Number.isInteger(replicas) || replicas < 1 || replicas > LIMITS.replicasMax) {
    throw new OptionError("replicas", replicas, `give a whole number from 1 to ${LIMITS.replicasMax}`);
  }
  if (!Number.isInteger(minReplicas) || minReplicas < 1 || minReplicas > replicas) {
    throw new OptionError("min-replicas", minReplicas, `give a whole number from 1 to --replicas (${replicas})`);
  }
  return { chunkSize, replicas, minReplicas };
}
