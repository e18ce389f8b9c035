import { join, resolve } from "node:path";
import { clearInterval, setInterval } from "node:timers";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { DRIVERS } from "../../../mount/driver.js";
import type { StatusReply } from "../../../proto/gen/bigfs/v1/meta.js";
import { makeFolder } from "../../common/data-folder.js";
import { createKey } from "../../common/key.js";
import { lockFolder } from "../../common/lock-file.js";
import { printJson } from "../admin/json.js";
import { isAlive, keyPath, readCluster, type ClusterFile } from "../cluster-file.js";
import { EXIT, UsageError } from "../exit.js";
import { interruptible } from "../interrupt.js";
import { LocalCluster, type LocalOptions, isRemoved, waitForNodes, waitForStatus } from "../local-cluster.js";
import { deadlinesWith, sizeOption } from "../shared-options.js";
import { takeDown, takeOff } from "./down.js";
import { volumeShape } from "./meta.js";

export const command = "up";
export const describe = "start a whole cluster on this machine, or what is missing of it";

export function builder(yargs: Argv) {
  return yargs
    .option("data", { type: "string", demandOption: true, describe: "folder of the cluster" })
    .option("mount", { type: "string", describe: "folder to mount it on [default: where it was mounted before]" })
    .option("storage", { type: "number", describe: "number of storage daemons [default: as before, or 3]" })
    .option("replicas", { type: "number", describe: "of a new volume: copies of each chunk [default: 2]" })
    .option("min-replicas", { type: "number", describe: "of a new volume: copies before a write is acknowledged" })
    .option("chunk-size", { type: "string", describe: "of a new volume [default: 1MiB]" })
    .option("capacity", { type: "string", describe: "of each storage daemon [default: the whole disk]" })
    .option("allow-other", { type: "boolean", default: false, describe: "let other users of this machine in" })
    .option("driver", { choices: DRIVERS, describe: "of the mount: what binds to the kernel" })
    .option("json", { type: "boolean", default: false, describe: "at the end, what runs where, for programs" })
    .option("foreground", { type: "boolean", default: false, describe: "stay; Ctrl-C stops the cluster" })
    .option("deadline", { type: "string", array: true, default: [] as string[], describe: "an interval, NAME=MS" })
    .option("log-level", { choices: ["debug", "info", "warn", "error"] as const, default: "info" as const })
    .example("$0 up --data ./cluster --mount ./mnt", "three storage daemons, two copies, mounted on ./mnt")
    .example("$0 up --data ./cluster", "after a stop, a crash or a reboot: start what is missing");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const data = resolve(args.data);
  const shape = shapeOf(args);
  deadlinesWith(args.deadline);
  if (args.capacity !== undefined) sizeOption("capacity", args.capacity);
  const known = await readCluster(data);
  const plan = planOf(args, known, shape.replicas);
  await makeFolder(data);
  let cluster: LocalCluster | undefined;
  const code = await interruptible(async (signal) => {
    cluster = await startAll(known, { data, pass: passed(args), signal }, { plan, args });
    return EXIT.done;
  });
  if (cluster === undefined) return code;
  if (args.json) printJson({ ...cluster.current, started: cluster.started });
  else process.stdout.write(`mounted on ${plan.mount}\n`);
  if (args.foreground) {
    await untilSignal();
    await takeDown(data, false);
  }
  return EXIT.done;
}

/** Starts what does not run; what it has started is taken back when that fails or is interrupted. */
async function startAll(
  known: ClusterFile | undefined,
  opts: LocalOptions,
  wanted: { readonly plan: Plan; readonly args: Args },
): Promise<LocalCluster> {
  const lock = await lockFolder(opts.data);
  const cluster = new LocalCluster(known ?? { volume: "", meta: "", processes: [] }, opts, (text) =>
    process.stderr.write(`bigfsd: ${text}\n`),
  );
  try {
    await createKey(keyPath(opts.data));
    await start(cluster, opts, wanted);
    return cluster;
  } catch (error) {
    await cluster.takeBack();
    throw error;
  } finally {
    await lock.release();
  }
}

interface Plan {
  readonly storage: number;
  readonly mount: string;
}

/** What shall run, from the options and from what ran before. */
function planOf(args: Args, known: ClusterFile | undefined, replicas: number): Plan {
  const before = known?.processes.find((m) => m.role === "mount");
  const mount = args.mount === undefined ? before?.listen : resolve(args.mount);
  if (mount === undefined) throw new UsageError("where to? give --mount DIR, an empty folder");
  if (before !== undefined && before.listen !== mount && isAlive(before)) {
    throw new UsageError(
      `the cluster is mounted on ${before.listen}: run 'bigfsd down' first, or add a mount with 'bigfsd mount'`,
    );
  }
  const stores = known?.processes.filter((m) => m.role === "store").length ?? 0;
  const storage = args.storage ?? (stores === 0 ? 3 : stores);
  if (!Number.isInteger(storage) || storage < 1 || storage > 64) {
    throw new UsageError(`--storage ${storage}: give a whole number from 1 to 64`);
  }
  if (storage < stores) {
    throw new UsageError(`--storage ${storage}: the cluster has ${stores}, and taking some away would lose copies`);
  }
  if (known === undefined && storage < replicas) {
    throw new UsageError(`--replicas ${replicas} needs at least as many storage daemons, not ${storage}`);
  }
  return { storage, mount };
}

function passed(args: Args): string[] {
  return ["--log-level", args.logLevel, ...args.deadline.flatMap((change) => ["--deadline", change])];
}

async function start(
  cluster: LocalCluster,
  opts: LocalOptions,
  { plan, args }: { readonly plan: Plan; readonly args: Args },
): Promise<void> {
  const { data } = opts;
  const shape = shapeOf(args);
  const key = ["--key", keyPath(data)];
  const where = (name: string) => cluster.member(name)?.listen ?? "127.0.0.1:0";
  const meta = await cluster.ensure("meta", "meta", join(data, "meta"), [
    ...["--data", join(data, "meta"), "--listen", where("meta"), ...key],
    ...["--chunk-size", `${shape.chunkSize}`, "--replicas", `${shape.replicas}`],
    ...["--min-replicas", `${shape.minReplicas}`],
  ]);
  const status = await waitForStatus(cluster.current, opts);
  await cluster.setVolume(status.volume);
  tellKept(args, status);
  const names = Array.from({ length: plan.storage }, (_, i) => `store${i + 1}`);
  const stores = names.filter((name) => !isRemoved(status, cluster.member(name)));
  for (const name of stores) {
    await cluster.ensure("store", name, join(data, name), [
      ...["--data", join(data, name), "--meta", meta.listen, "--listen", where(name), ...key],
      ...["--name", name, "--zone", name],
      ...(args.capacity === undefined ? [] : ["--capacity", args.capacity]),
    ]);
  }
  await waitForNodes(cluster.current, stores, opts);
  const before = cluster.member("mount");
  if (before !== undefined && !isAlive(before)) await takeOff(before, true);
  await makeFolder(plan.mount, { what: "mount point" });
  await cluster.ensure("mount", "mount", plan.mount, [
    ...[plan.mount, "--foreground", "--meta", meta.listen, ...key],
    ...(args.allowOther ? ["--allow-other"] : []),
    ...(args.driver === undefined ? [] : ["--driver", args.driver]),
  ]);
  opts.signal.throwIfAborted();
}

/** The shape of a new volume. */
function shapeOf({ chunkSize = "1MiB", replicas = 2, minReplicas }: Args) {
  return volumeShape({ chunkSize, replicas, minReplicas });
}

/** Options of a new volume change nothing of one that is there: that shall not surprise. */
function tellKept(args: Args, status: StatusReply): void {
  const wanted = shapeOf(args);
  const names = { chunkSize: "chunk-size", replicas: "replicas", minReplicas: "min-replicas" } as const;
  const kept = (["chunkSize", "replicas", "minReplicas"] as const)
    .filter((name) => args[name] !== undefined && wanted[name] !== status[name])
    .map((name) => `${names[name]} ${status[name]}`);
  if (kept.length === 0) return;
  process.stderr.write(`bigfsd: the volume is there already and keeps ${kept.join(", ")}; see 'bigfsd config'\n`);
}

async function untilSignal(): Promise<void> {
  // Waiting for a signal alone would not keep the process.
  const keep = setInterval(() => {}, 1 << 30);
  await new Promise<void>((done) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => done());
  });
  clearInterval(keep);
}
