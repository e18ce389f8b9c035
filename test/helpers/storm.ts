import type { Test } from "tap";
import { TestCluster, bigfsd } from "./cluster.js";
import type { StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { Diligent } from "./manifest.js";

/** Times that each daemon is killed; more of them by hand. */
const ROUNDS = Number(process.env["ROUNDS"] ?? 1);
const FAST = [
  "heartbeatMs=500",
  "nodeDownMs=2000",
  "confirmMs=2000",
  "syncMs=200",
  "leaseMs=5000",
  "renewMs=1000",
].flatMap((change) => ["--deadline", change]);
export const STORES = ["store1", "store2", "store3"];

const statusOf = async (cluster: TestCluster) =>
  JSON.parse((await bigfsd(["status", "--json", "--data", cluster.data])).stdout) as StatusReply;

/** Kills these daemons one after the other, the next when the last is back and nothing lacks a copy. */
export async function storm(t: Test, opts: { copies: number; min: number; names: readonly string[] }): Promise<void> {
  const copies = ["--replicas", `${opts.copies}`, "--min-replicas", `${opts.min}`];
  const cluster = await TestCluster.start(t, [...FAST, ...copies]);
  const second = await cluster.mountAgain("second", ["--no-short-circuit", ...FAST]);
  const sizes = [150_000, 3_000, 1_500_000];
  const common = { sizes, keep: 40 };
  // Each reads what it has written by the other mount; one of them remembers where copies were (D28).
  const workers = [
    new Diligent(t, { ...common, write: cluster.mnt, read: second }),
    new Diligent(t, { ...common, write: second, read: cluster.mnt, sizes: [...sizes].reverse() }),
  ];
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of opts.names) {
      await cluster.kill(name);
      await cluster.up();
      const isBack = ({ nodes, underReplicated }: StatusReply) =>
        nodes.every(({ state }) => state === "UP") && underReplicated === 0;
      while (!isBack(await statusOf(cluster)));
    }
  }
  for (const worker of workers) {
    const { problems, written } = await worker.stop();
    t.same(problems, []);
    t.ok(written > 0, `${written} files were written`);
  }
}
