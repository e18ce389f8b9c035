import { resolve } from "node:path";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { systemClock } from "../../common/clock.js";
import { lockFolder } from "../../common/lock-file.js";
import { StartupError } from "../../common/running.js";
import { printJson } from "../admin/json.js";
import { isAlive, readCluster, type Member } from "../cluster-file.js";
import { EXIT } from "../exit.js";
import { stopProcess } from "../local-cluster.js";

export const command = "down";
export const describe = "unmount and stop a cluster of this machine; nothing is lost";

export function builder(yargs: Argv) {
  return yargs
    .option("data", { type: "string", demandOption: true, describe: "folder of the cluster" })
    .option("json", { type: "boolean", default: false, describe: "at the end, what was stopped, for programs" })
    .option("force", { type: "boolean", default: false, describe: "also while programs use the mounted folder" })
    .example("$0 down --data ./cluster", "'bigfsd up --data ./cluster' starts it again");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const stopped = await takeDown(resolve(args.data), args.force);
  if (args.json) printJson({ stopped });
  return EXIT.done;
}

/** Unmounts, then stops mount, stores and metadata daemon, in this order. Those that ran. */
export async function takeDown(data: string, force: boolean): Promise<Member[]> {
  const file = await readCluster(data);
  if (file === undefined) {
    throw new StartupError(`no cluster was started in ${data}`, { hint: "give the --data folder of a 'bigfsd up'" });
  }
  const lock = await lockFolder(data);
  const stopped: Member[] = [];
  try {
    for (const member of [...file.processes].reverse()) {
      const ran = isAlive(member);
      if (member.role === "mount") await takeOff(member, force);
      await stopProcess(member);
      if (ran) stopped.push(member);
    }
    return stopped;
  } finally {
    await lock.release();
  }
}

/**
 * Unmounts where this process mounted; a mount whose process has died is freed whoever still stands in it. What answers
 * there when that process is dead is the mount of another one.
 */
export async function takeOff(member: Member, lazy: boolean): Promise<void> {
  const { isMounted, unmountPath } = await import("../../../mount/kernel/unmount.js");
  const { liveness } = await import("../../../mount/kernel/place.js");
  if (!(await isMounted(member.listen))) return;
  const dead = !isAlive(member);
  if (dead && (await liveness(member.listen, systemClock)) !== "dead") return;
  await unmountPath(member.listen, dead ? { lazy: true, force: process.geteuid?.() === 0 } : { lazy });
}
