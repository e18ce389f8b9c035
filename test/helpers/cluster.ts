import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import { fetchStatus } from "../../daemon/cli/admin/ask.js";
import { isAlive, type ClusterFile, type Member } from "../../daemon/cli/cluster-file.js";
import { readKey } from "../../daemon/common/key.js";
import { startTimeOf } from "../../daemon/common/process.js";
import type { StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { giveUp, ownFolder } from "./own-folder.js";
import { must, run, type Outcome } from "./run.js";
import { until } from "./until.js";

/** Peak memory that a mount and a daemon may have. */
const MOUNT_MIB = 400;
const DAEMON_MIB = 300;

/** Runs the `bigfsd` command of this build. */
export function bigfsd(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  return run(process.execPath, [new URL("../../daemon/cli/bin.js", import.meta.url).pathname, ...args], {
    env: { BIGFS_META: "", ...env },
    timeout: 120_000,
  });
}

/** The processes that it has started. */
export function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** The process that serves a mount, as that supervisor has started it. */
export async function serverOf(supervisor: number): Promise<number> {
  let server: number | undefined;
  await until(() => {
    server = childrenOf(supervisor).find((pid) => startTimeOf(pid) !== undefined);
    return server !== undefined || startTimeOf(supervisor) === undefined;
  });
  if (server === undefined) throw new Error("the mount has ended");
  return server;
}

/** Waits until the process is no more. */
export function gone(pid: number): Promise<void> {
  return until(() => startTimeOf(pid) === undefined);
}

/** Peak memory of a process, in MiB. */
function peakOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? NaN) / 1024;
}

/** A cluster of real processes in a temp folder, with a real mount, that goes away with the test. */
export class TestCluster {
  private constructor(
    /** Everything of this cluster. */
    readonly dir: string,
    private readonly args: readonly string[],
  ) {}

  /** Starts `bigfsd up` with these further arguments, when its folder is prepared. */
  static async start(
    t: { teardown(fn: () => Promise<void>): void },
    args: readonly string[] = [],
    prepare: (cluster: TestCluster) => Promise<void> = () => Promise.resolve(),
  ): Promise<TestCluster> {
    const dir = await ownFolder("bigfs-test-");
    const cluster = new TestCluster(dir, args);
    // What it has stored is of no use any more, and to stop in order takes its time.
    t.teardown(() => giveUp(dir));
    await prepare(cluster);
    await cluster.up();
    return cluster;
  }

  get data(): string {
    return join(this.dir, "cluster");
  }

  get mnt(): string {
    return join(this.dir, "mnt");
  }

  get keyFile(): string {
    return join(this.data, "cluster.key");
  }

  /** Starts what is missing, in this environment. */
  async up(env: Record<string, string> = {}): Promise<void> {
    const outcome = await bigfsd(["up", "--data", this.data, "--mount", this.mnt, ...this.args], env);
    if (outcome.code !== 0) throw new Error(`up failed (${outcome.code}): ${outcome.stderr}${await this.logs()}`);
  }

  async down(): Promise<void> {
    const outcome = await bigfsd(["down", "--data", this.data]);
    if (outcome.code !== 0) throw new Error(`down failed (${outcome.code}): ${outcome.stderr}`);
  }

  async file(): Promise<ClusterFile> {
    return JSON.parse(await readFile(join(this.data, "cluster.json"), "utf8")) as ClusterFile;
  }

  async member(name: string): Promise<Member> {
    const found = (await this.file()).processes.find((m) => m.name === name);
    if (found === undefined) throw new Error(`no process ${name}`);
    return found;
  }

  /** kill -9, and waits until it is gone. A mount goes with its supervisor, so that nobody takes over. */
  async kill(name: string): Promise<void> {
    const member = await this.member(name);
    const served = childrenOf(member.pid);
    // It would end in order when its supervisor has died.
    for (const pid of served) process.kill(pid, "SIGSTOP");
    for (const pid of [member.pid, ...served]) process.kill(pid, "SIGKILL");
    for (const pid of [member.pid, ...served]) await gone(pid);
  }

  /** Mounts the cluster once more; the mount point. */
  async mountAgain(name: string, args: readonly string[] = []): Promise<string> {
    const mountpoint = join(this.dir, name);
    await must("mkdir", ["-p", mountpoint]);
    const log = join(this.data, "log", `${name}.log`);
    const outcome = await bigfsd(["mount", mountpoint, "--data", this.data, "--log", log, ...args]);
    if (outcome.code !== 0) throw new Error(`mount failed: ${outcome.stderr}`);
    return mountpoint;
  }

  /** How it is. Asked from here: a command line takes far longer to start than what it shall tell may last. */
  async status(): Promise<StatusReply> {
    return fetchStatus({ meta: (await this.file()).meta, key: await readKey(this.keyFile) });
  }

  /** Waits until it is so. */
  until(met: (status: StatusReply) => boolean): Promise<void> {
    return until(async () => met(await this.status()));
  }

  /** Asserts that every process that runs has stayed within the memory that it may take. */
  async staysSmall(t: Test): Promise<void> {
    for (const member of (await this.file()).processes.filter(isAlive)) {
      const peaks = [member.pid, ...childrenOf(member.pid)].map(peakOf);
      const peak = Math.max(...peaks);
      const most = member.role === "mount" ? MOUNT_MIB : DAEMON_MIB;
      t.ok(peak < most, `${member.name} has taken ${peak.toFixed(0)} MiB of ${most}`);
    }
  }

  /** The last lines of every log. */
  async logs(): Promise<string> {
    return (await run("bash", ["-c", `tail -n 5 ${this.data}/log/*.log`])).stdout;
  }
}
