import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../common/durable.js";
import { startTimeOf } from "../common/process.js";
import { StartupError } from "../common/running.js";
import type { ClusterFile, Member } from "./cluster-schema.js";

export type { ClusterFile, Member };

export function clusterPath(data: string): string {
  return join(data, "cluster.json");
}

export function keyPath(data: string): string {
  return join(data, "cluster.key");
}

/** undefined: no cluster was ever started in this folder. */
export async function readCluster(data: string): Promise<ClusterFile | undefined> {
  const path = clusterPath(data);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new StartupError(`cannot read ${path}: ${(error as Error).message}`, { hint: "check the folder's owner" });
  }
  const { cluster } = await import("./cluster-schema.js");
  try {
    return cluster.parse(JSON.parse(text));
  } catch (error) {
    throw new StartupError(`${path} is not a cluster file`, {
      hint: "restore it, or name another --data folder",
      cause: error,
    });
  }
}

export async function writeCluster(data: string, file: ClusterFile): Promise<void> {
  await writeDurably(clusterPath(data), Buffer.from(`${JSON.stringify(file, null, 2)}\n`));
}

/** True while this very process (not another one with its pid) runs. */
export function isAlive(process: Pick<Member, "pid" | "started">): boolean {
  return startTimeOf(process.pid) === process.started;
}
