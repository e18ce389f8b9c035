import { resolve } from "node:path";
import type { Argv } from "yargs";
import type { FsError } from "../../proto/errno.js";
import { parseAddress } from "../common/address.js";
import { DEADLINES, checkDeadlines, type Deadlines } from "../common/deadlines.js";
import { readKey } from "../common/key.js";
import { parseSize } from "../common/sizes.js";
import { keyPath, readCluster } from "./cluster-file.js";
import { variableOf } from "./config-file.js";
import { OptionError, UsageError } from "./exit.js";

/** Options of everything that talks to a metadata daemon. */
export function withCluster<T>(yargs: Argv<T>) {
  return yargs
    .option("meta", { type: "string", describe: "address of the metadata daemon, HOST:PORT [env BIGFS_META]" })
    .option("key", { type: "string", describe: "file with the cluster key [env BIGFS_KEY]" })
    .option("data", { type: "string", describe: "folder of a cluster started by 'bigfsd up'" });
}

/** Options of everything that goes on running. */
export function withDaemon<T>(yargs: Argv<T>) {
  return yargs
    .option("http", { type: "string", describe: "serve /metrics and /healthz there, [HOST:]PORT" })
    .option("log-level", {
      choices: ["debug", "info", "warn", "error"] as const,
      default: "info" as const,
      describe: "least important log records to write",
    })
    .option("deadline", {
      type: "string",
      array: true,
      default: [] as string[],
      describe: `an interval, NAME=MILLISECONDS; names: ${Object.keys(DEADLINES).join(" ")}`,
    });
}

export interface ClusterAddress {
  readonly meta: string;
  readonly key: Buffer;
}

/** Where the metadata daemon is and the key: from the options, the environment, or the folder of an `up`. */
export async function clusterAddress(args: {
  meta?: string | undefined;
  key?: string | undefined;
  data?: string | undefined;
}): Promise<ClusterAddress> {
  const data = args.data === undefined ? undefined : resolve(args.data);
  const variable = args.meta === undefined && data === undefined ? environment("BIGFS_META") : undefined;
  const meta = args.meta ?? variable ?? (data === undefined ? undefined : (await readCluster(data))?.meta);
  if (meta === undefined) {
    throw new UsageError(
      data === undefined
        ? "which cluster? give --data DIR of a 'bigfsd up', or --meta HOST:PORT (or BIGFS_META)"
        : `no cluster was started in ${data}: run 'bigfsd up --data ${data} --mount DIR', or give --meta HOST:PORT`,
    );
  }
  const problem = variable === undefined ? undefined : addressProblem(variable);
  if (problem !== undefined) throw new UsageError(`BIGFS_META: ${problem}`);
  return { meta: addressOption("meta", meta), key: await clusterKey(args.key, data) };
}

/** An address, checked; says which option is wrong. `parse`: for those of which a part may be missing. */
export function addressOption(name: string, text: string, parse: (text: string) => object = parseAddress): string {
  const problem = addressProblem(text, parse);
  if (problem !== undefined) throw new OptionError(name, text, problem);
  return text;
}

function addressProblem(text: string, parse: (text: string) => object = parseAddress): string | undefined {
  try {
    parse(text);
    return undefined;
  } catch (error) {
    return (error as FsError).detail;
  }
}

/** A name or a zone, checked by what says what is wrong with it. */
export function labelOption(name: string, text: string, problemOf: (text: string) => string | undefined): string {
  const problem = problemOf(text);
  if (problem !== undefined) throw new OptionError(name, text, problem);
  return text;
}

/** The cluster key: from --key, the folder of an `up`, or BIGFS_KEY. */
export async function clusterKey(option: string | undefined, data: string | undefined): Promise<Buffer> {
  const file = option ?? (data === undefined ? environment("BIGFS_KEY") : keyPath(data));
  if (file === undefined)
    throw new UsageError("no cluster key: give --key FILE (or BIGFS_KEY), which 'bigfsd key' or 'bigfsd up' made");
  return readKey(resolve(file));
}

/** The deadline table with NAME=MS changes applied. */
export function deadlinesWith(changes: readonly string[]): Deadlines {
  const deadlines = { ...DEADLINES };
  for (const change of changes) {
    const [name = "", value = ""] = change.split("=", 2);
    const ms = Number(value);
    if (!Object.hasOwn(deadlines, name)) throw new OptionError("deadline", change, `there is no deadline '${name}'`);
    if (!/^\d+$/.test(value) || ms < 1) throw new OptionError("deadline", change, "give whole milliseconds, NAME=MS");
    deadlines[name as keyof Deadlines] = ms;
  }
  try {
    checkDeadlines(deadlines);
  } catch (error) {
    throw new OptionError("deadline", changes.join(" "), (error as Error).message);
  }
  return deadlines;
}

/** A size option in bytes; says which option is wrong. */
export function sizeOption(name: string, text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    throw new OptionError(name, text, (error as Error).message);
  }
}

/** An option that must be given, be it in the configuration file or the environment. */
export function required(name: string, value: string | undefined): string {
  if (value !== undefined && value !== "") return value;
  throw new UsageError(
    `${name} is missing: give it on the command line, in the --config file or as ${variableOf(name)}`,
  );
}

/** A variable of the environment; an empty one counts as not set. */
export function environment(name: string): string | undefined {
  const value = process.env[name];
  return value === "" ? undefined : value;
}
