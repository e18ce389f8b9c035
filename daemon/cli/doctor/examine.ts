import { FsError } from "../../../proto/errno.js";
import type { Clock } from "../../common/clock.js";
import { DEADLINES } from "../../common/deadlines.js";
import { dial } from "../../common/rpc/client.js";
import { ADMIN } from "../../common/rpc/kinds.js";
import { StartupError } from "../../common/running.js";
import { fetchStatus } from "../admin/ask.js";
import { readCluster } from "../cluster-file.js";
import { environment, clusterAddress, type ClusterAddress } from "../shared-options.js";
import { explain } from "../exit.js";
import { judgeCluster, unreachable, type ClusterFacts } from "./cluster.js";
import { judgeDisk, judgeSharing } from "./disk.js";
import { finding, type Finding } from "./finding.js";
import { lookAtMachine } from "./look.js";
import { judgeMachine } from "./machine.js";
import { byDisk, measureDisk, type Measuring } from "./measure.js";

export interface Wanted {
  readonly meta?: string | undefined;
  readonly key?: string | undefined;
  readonly data?: string | undefined;
  /** Folders whose disks are measured, besides those of the cluster in `data`. */
  readonly disk: readonly string[];
  /** Aborted when nobody wants to know any more. */
  readonly signal: AbortSignal;
}

/** Everything that can be found out about this machine, its disks, and the cluster if one is named. */
export async function examine(wanted: Wanted, clock: Clock): Promise<Finding[]> {
  const findings = judgeMachine(await lookAtMachine());
  for (const folders of await byDisk([...(await foldersOf(wanted.data)), ...wanted.disk])) {
    // One after the other, not to slow each other down.
    findings.push(...(await disk(folders[0], { clock, signal: wanted.signal })), ...judgeSharing(folders));
  }
  if (namesCluster(wanted)) findings.push(...(await cluster(wanted, clock)));
  return findings;
}

export function namesCluster({ meta, data }: Wanted): boolean {
  return (meta ?? data ?? environment("BIGFS_META")) !== undefined;
}

/** The data folders of the daemons of an `up`. */
async function foldersOf(data: string | undefined): Promise<string[]> {
  const file = data === undefined ? undefined : await readCluster(data);
  return (file?.processes ?? []).filter(({ role }) => role !== "mount").map((member) => member.data);
}

async function disk(folder: string, opts: Measuring): Promise<Finding[]> {
  try {
    return judgeDisk(await measureDisk(folder, opts));
  } catch (error) {
    opts.signal.throwIfAborted();
    const what = `${folder} cannot be looked at: ${(error as Error).message}`;
    return [finding("error", "disk-space", what, "name a folder that is there, with the disk mounted")];
  }
}

async function cluster(wanted: Wanted, clock: Clock): Promise<Finding[]> {
  let address: ClusterAddress | undefined;
  try {
    address = await clusterAddress(wanted);
    return judgeCluster(await ask(address, clock));
  } catch (error) {
    const cause = error instanceof StartupError ? error.cause : error;
    if (address !== undefined && cause instanceof FsError) {
      if (cause.errno !== "EACCES") return [unreachable(address.meta, explain(cause))];
      return [finding("error", "key", explain(cause), "copy the key file of that cluster, then: chmod 600 FILE")];
    }
    if (error instanceof StartupError) return [finding("error", "key", error.message, error.hint)];
    throw error;
  }
}

async function ask(address: ClusterAddress, clock: Clock): Promise<ClusterFacts> {
  const before = clock.monotonicMs();
  const link = await dial(ADMIN, address.meta, {
    key: address.key,
    role: "admin",
    connectMs: DEADLINES.connectMs,
    clock,
  });
  const now = clock.now();
  const elapsed = clock.monotonicMs() - before;
  const greeted = link.peer.clockMs;
  link.close();
  // It was read at some moment while we waited.
  const here = now.sec * 1000 + now.nsec / 1e6 - elapsed / 2;
  const skewMs = greeted === undefined ? 0 : greeted - here;
  return { meta: address.meta, status: await fetchStatus(address), skewMs, skewErrorMs: elapsed / 2 };
}
