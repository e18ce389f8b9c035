import { setTimeout as pause } from "node:timers/promises";
import { join } from "node:path";
import { FsError } from "../../proto/errno.js";
import type { StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { systemClock, type Clock } from "../common/clock.js";
import { readKey } from "../common/key.js";
import { StartupError } from "../common/running.js";
import { fetchStatus } from "./admin/ask.js";
import { isAlive, keyPath, writeCluster, type ClusterFile, type Member } from "./cluster-file.js";
import { EXIT, exitCodeOf } from "./exit.js";
import { spawnDaemon } from "./spawn.js";

/** What every process of a one-machine cluster is started with. */
export interface LocalOptions {
  /** The cluster's folder, absolute. */
  readonly data: string;
  /** Options that are passed on to every daemon. */
  readonly pass: readonly string[];
  /** Aborted when no more shall be started or waited for. */
  readonly signal: AbortSignal;
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

  /** Names of what this object has started, in order. */
  get started(): string[] {
    return this.#fresh.map(({ name }) => name);
  }

  member(name: string): Member | undefined {
    return this.file.processes.find((m) => m.name === name);
  }

  /** Starts a process unless it runs. `args` are for the daemon; `listen` is where it was before, when it was. */
  async ensure(role: Member["role"], name: string, data: string, args: readonly string[]): Promise<Member> {
    const known = this.member(name);
    if (known !== undefined && isAlive(known)) return known;
    this.opts.signal.throwIfAborted();
    this.report(`starting ${name}`);
    const log = join(this.opts.data, "log", `${name}.log`);
    const spawned = await spawnDaemon([role, ...args, ...this.opts.pass], log, this.opts.signal);
    const member: Member = { role, name, ...spawned, data };
    this.#fresh.push(member);
    await this.record(member);
    return member;
  }

  async setVolume(volume: string): Promise<void> {
    this.file = { ...this.file, volume };
    await writeCluster(this.opts.data, this.file);
  }

  /** Ends what this object started, latest first. */
  async takeBack(): Promise<void> {
    for (const member of this.#fresh.splice(0).reverse()) await stopProcess(member);
  }

  private async record(member: Member): Promise<void> {
    const others = this.file.processes.filter((m) => m.name !== member.name);
    const meta = member.role === "meta" ? member.listen : this.file.meta;
    this.file = { ...this.file, meta, processes: [...others, member].sort(byStartOrder) };
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

/** How long a process that lives may take to answer, or to join. */
const ANSWER_MS = 120_000;

type Waiting = Pick<LocalOptions, "data" | "signal">;

/** The state of the cluster once its metadata daemon answers. StartupError when that has ended before. */
export function waitForStatus(file: ClusterFile, opts: Waiting): Promise<StatusReply> {
  return waitFor(file, { ...opts, of: ["meta"] }, () => undefined);
}

/** Whether an administrator has removed this storage daemon from the volume: it may not come back. */
export function isRemoved({ nodes }: StatusReply, member: Member | undefined): boolean {
  const there = nodes.filter(({ address }) => address === member?.listen);
  return there.length > 0 && there.every(({ state }) => state === "RETIRED");
}

/** Waits until these storage daemons are up. StartupError when a process of the cluster has ended before. */
export async function waitForNodes(file: ClusterFile, stores: readonly string[], opts: Waiting): Promise<void> {
  const processes = file.processes.filter(({ name, role }) => role !== "store" || stores.includes(name));
  await waitFor({ ...file, processes }, { ...opts, of: ["meta", "store"] }, ({ nodes }) => {
    const up = nodes.filter(({ state }) => state === "UP" || state === "DRAINING");
    if (up.length >= stores.length) return undefined;
    const states = nodes.map(({ name, state }) => `${name} ${state}`).join(", ");
    return new StartupError(`only some storage daemons have joined: ${states || "none"}`, {
      hint: `see ${join(opts.data, "log")}`,
      cause: new FsError("ETIMEDOUT"),
    });
  });
}

/** The state of the cluster once `problemOf` finds nothing wrong with it, as long as the processes `of` live. */
async function waitFor(
  file: ClusterFile,
  { data, signal, of }: Waiting & { readonly of: readonly Member["role"][] },
  problemOf: (status: StatusReply) => Error | undefined,
): Promise<StatusReply> {
  const address = { meta: file.meta, key: await readKey(keyPath(data)) };
  const deadline = systemClock.monotonicMs() + ANSWER_MS;
  for (;;) {
    let problem: unknown;
    try {
      const status = await fetchStatus(address);
      problem = problemOf(status);
      if (problem === undefined) return status;
    } catch (error) {
      if (exitCodeOf(error) !== EXIT.unreachable) throw error;
      problem = error;
    }
    const ended = file.processes.find((member) => of.includes(member.role) && !isAlive(member));
    if (ended !== undefined) {
      const hint = `see ${join(data, "log", `${ended.name}.log`)}`;
      throw new StartupError(`${ended.name} (pid ${ended.pid}) has ended`, { hint });
    }
    if (systemClock.monotonicMs() > deadline) throw problem;
    await pause(50, undefined, { signal });
  }
}
