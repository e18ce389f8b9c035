import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import { createKey } from "../../daemon/common/key.js";
import type { StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { Hosts, type Host } from "./hosts.js";
import { Diligent } from "./manifest.js";
import { sh } from "./run.js";

const DEADLINES = [
  "heartbeatMs=500",
  "nodeDownMs=2000",
  "chunkMs=2000",
  "confirmMs=2000",
  "syncMs=200",
  "leaseMs=3000",
  "leaseMarginMs=500",
  "renewMs=500",
  "ioDeadlineMs=6000",
  "connectMs=1000",
  "reconnectMaxMs=200",
].flatMap((change) => ["--deadline", change]);

/** Of every daemon, on its own machine. */
const PORT = 50051;
const STORES = ["store1", "store2", "store3"];
/** Files that each worker has to have tried while nothing comes through; one that waits for its deadline each time. */
const TURNS = 6;
const REFUSED_TURNS = 1;
/** What a mount that is cut off waits for, in a test of just that. */
export const IMPATIENT = ["--deadline", "ioDeadlineMs=2000"];

/** Six machines: a metadata daemon, three storage daemons, and two mounts of which neither is on a store's machine. */
export class Network {
  private constructor(private readonly hosts: Hosts) {}

  /** `near`: further deadlines of that mount. */
  static async start(t: Test, near: readonly string[] = []): Promise<Network> {
    const hosts = await Hosts.start(t, ["meta", ...STORES, "near", "far"]);
    const network = new Network(hosts);
    await createKey(network.key);
    await network.#daemon("meta", [
      "--data",
      join(hosts.dir, "meta"),
      "--listen",
      `${network.host("meta").ip}:${PORT}`,
    ]);
    await Promise.all(STORES.map((name) => network.#store(name)));
    await Promise.all([network.#mount("near", near), network.#mount("far")]);
    return network;
  }

  host(name: string): Host {
    return this.hosts.host(name);
  }

  mnt(name: "near" | "far"): string {
    return join(this.hosts.dir, "mnt", name);
  }

  get key(): string {
    return join(this.hosts.dir, "key");
  }

  /** Asked on the machine of the metadata daemon. */
  async ask(...command: string[]): Promise<unknown> {
    const address = ["--meta", `${this.host("meta").ip}:${PORT}`, "--key", this.key];
    const { code, stdout, stderr } = await this.host("meta").bigfsd([...command, "--json", ...address]);
    if (code !== 0) throw new Error(`${command.join(" ")}: ${stderr}${stdout}`);
    return JSON.parse(stdout) as unknown;
  }

  async until(met: (status: StatusReply) => boolean): Promise<void> {
    while (!met((await this.ask("status")) as StatusReply));
  }

  /** Until all are there and nothing lacks a copy. */
  whole(): Promise<void> {
    return this.until(
      ({ nodes, sessions, underReplicated, pending }) =>
        nodes.every(({ state }) => state === "UP") &&
        sessions.filter(({ connected }) => connected).length >= 2 &&
        underReplicated === 0 &&
        pending === 0,
    );
  }

  /** What both mounts show, by name and checksum. */
  seen(): Promise<string[]> {
    const sums = (["near", "far"] as const).map((name) =>
      sh(`sync -f . && find . -type f -print0 | sort -z | xargs -0 sha256sum`, { cwd: this.mnt(name) }),
    );
    return Promise.all(sums);
  }

  #store(name: string): Promise<unknown> {
    const meta = `${this.host("meta").ip}:${PORT}`;
    const folder = ["--data", join(this.hosts.dir, name), "--name", name];
    return this.#daemon(name, [...folder, "--listen", `${this.host(name).ip}:${PORT}`, "--meta", meta], "store");
  }

  async #mount(name: "near" | "far", more: readonly string[] = []): Promise<void> {
    await mkdir(this.mnt(name), { recursive: true });
    const args = [this.mnt(name), "--foreground", "--no-short-circuit", "--meta", `${this.host("meta").ip}:${PORT}`];
    await this.#daemon(name, args, "mount", [...DEADLINES, ...more]);
  }

  #daemon(name: string, args: readonly string[], role = name, deadlines = DEADLINES): Promise<unknown> {
    return this.hosts.bigfsd(this.host(name), name, [role, ...args, ...deadlines, "--key", this.key]);
  }
}

type Way = readonly [from: Host, to: Host];

/**
 * Cuts two machines from each other, both ways and each way alone, while both mounts are written to and read. `cutOff`:
 * the mount that may refuse to work with EIO meanwhile; the others may not. `other` is that of a daemon.
 */
export async function partition(t: Test, [one, other]: [string, string], cutOff?: "near"): Promise<void> {
  const network = await Network.start(t, cutOff === undefined ? [] : IMPATIENT);
  const [a, b] = [network.host(one), network.host(other)];
  const both = { sizes: [150_000, 3_000, 1_500_000], keep: 30 };
  const [near, far] = [network.mnt("near"), network.mnt("far")];
  // What the one wrote the other reads, unless it cannot.
  const readers = cutOff === undefined ? [far, near] : [near, far];
  const workers = [
    new Diligent(t, { ...both, write: near, read: readers[0] ?? "", mayFail: cutOff === "near" }),
    new Diligent(t, { ...both, write: far, read: readers[1] ?? "" }),
  ];
  const there: Way = [a, b];
  const back: Way = [b, a];
  const failed = workers.map((worker) => worker.failed);
  for (const ways of [[there, back], [there], [back]]) {
    await Promise.race([Promise.all(workers.map((worker) => worker.turns(TURNS))), ...failed]);
    for (const [from, to] of ways) await from.lose(to);
    t.notOk(await a.connects(b, PORT), `cut: ${ways.map(([from, to]) => `${from.name} to ${to.name}`).join(", ")}`);
    const goOn = workers.map((worker, n) => worker.turns(n === 0 && cutOff === "near" ? REFUSED_TURNS : TURNS));
    await Promise.race([Promise.all(goOn), ...failed]);
    for (const [from, to] of ways) await from.reach(to);
    t.ok(await a.connects(b, PORT), "work went on meanwhile; it is mended");
  }
  for (const worker of workers) {
    const { problems, files, refused } = await worker.stop();
    t.same(problems, []);
    t.ok(files > 0, `${files} files are as they were when they were fsynced, ${refused} were refused`);
  }
  await network.whole();
  const [seen, alsoSeen] = await network.seen();
  t.equal(seen, alsoSeen, "both mounts show the same");
  t.match(await network.ask("fsck"), { findings: [] });
}
