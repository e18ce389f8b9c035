import { setTimeout as pause } from "node:timers/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { FsError } from "../../proto/errno.js";
import { systemClock, type Clock } from "../common/clock.js";
import { StartupError } from "../common/running.js";
import { fetchStatus } from "./admin/ask.js";
import { isAlive, keyPath, writeCluster, type ClusterFile, type Member } from "./cluster-file.js";
import { readKey } from "../common/key.js";
import { spawnDaemon } from "./spawn.js";

/** What every process of a one-machine cluster is started with. */
export interface LocalOptions {
  /** The cluster's folder, absolute. */
  readonly data: string;
  /** Options that are passed on to every daemon. */
  readonly pass: readonly string[];
}

/**
 * The processes of a one-machine cluster. The file is written after each start and stop, so that what runs is always on
 * record, whenever this process dies.
 */
export class LocalCluster {
  /** Started by this object, in order; what a failed `up` takes back. */
  readonly #fresh: Member[] = [];

  constructor(
    private file: ClusterFile,
    private readonly opts: LocalOptions,
    private readonly report: (text: string) => void,
  ) {}

  get current(): ClusterFile {
    return this.file;
  }

  member(name: string): Member | undefined {
    return this.file.processes.find((m) => m.name === name);
  }

  /** Starts a process unless it runs. `args` are for the daemon; `listen` is where it was before, when it was. */
  async ensure(role: Member["role"], name: string, data: string, args: readonly string[]): Promise<Member> {
    const known = this.member(name);
    if (known !== undefined && isAlive(known)) return known;
    this.report(`starting ${name}`);
    const log = join(this.opts.data, "log", `${name}.log`);
    const spawned = await spawnDaemon([role, ...args, ...this.opts.pass], log);
    const member: Member = { role, name, ...spawned, data };
    this.#fresh.push(member);
    await this.record(member);
    return member;
  }

  async setVolume(volume: string, meta: string): Promise<void> {
    this.file = { ...this.file, volume, meta };
    await writeCluster(this.opts.data, this.file);
  }

  /** Ends what this object started, latest first. */
  async takeBack(): Promise<void> {
    for (const member of this.#fresh.splice(0).reverse()) await stopProcess(member);
  }

  private async record(member: Member): Promise<void> {
    const others = this.file.processes.filter((m) => m.name !== member.name);
    this.file = { ...this.file, processes: [...others, member].sort(byStartOrder) };
    await writeCluster(this.opts.data, this.file);
  }
}

const ORDER: Record<Member["role"], number> = { meta: 0, store: 1, mount: 2 };

function byStartOrder(a: Member, b: Member): number {
  return ORDER[a.role] - ORDER[b.role] || a.name.localeCompare(b.name, "en", { numeric: true });
}

/** How long a process may take to stop in order. */
const STOP_MS = 90_000;

/** Asks a process to stop and waits until it is gone. Its pid is signalled only while it is this very process. */
export async function stopProcess(member: Member, clock: Clock = systemClock): Promise<void> {
  if (!isAlive(member)) return;
  process.kill(member.pid, "SIGTERM");
  const deadline = clock.monotonicMs() + STOP_MS;
  while (isAlive(member)) {
    if (clock.monotonicMs() > deadline) {
      throw new StartupError(`${member.name} (pid ${member.pid}) does not stop`, {
        hint: "see its log; 'kill -9' ends it, what it had acknowledged is safe",
      });
    }
    await pause(20);
  }
}

/** Waits until all `stores` storage daemons of this cluster are up. */
export async function waitForNodes(file: ClusterFile, data: string, stores: number, log?: Logger): Promise<void> {
  const key = await readKey(keyPath(data));
  const deadline = systemClock.monotonicMs() + 30_000;
  for (;;) {
    const status = await fetchStatus({ meta: file.meta, key });
    if (status.nodes.filter((node) => node.state === "UP").length >= stores) return;
    if (systemClock.monotonicMs() > deadline) {
      throw new StartupError(
        `only some storage daemons joined: ${status.nodes.map((n) => `${n.name} ${n.state}`).join(", ")}`,
        {
          hint: `see ${join(data, "log")}`,
          cause: new FsError("ETIMEDOUT"),
        },
      );
    }
    log?.debug({ nodes: status.nodes.length }, "waiting for storage daemons");
    await pause(50);
  }
}
