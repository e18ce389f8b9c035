import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type Test } from "tap";
import { TestCluster, bigfsd, gone } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, run, type Outcome } from "../helpers/run.js";
import { until } from "../helpers/until.js";

const FAST = [
  "confirmMs=2000",
  "cleanMs=500",
  "heartbeatMs=500",
  "leaseMs=5000",
  "renewMs=1000",
  "leaseMarginMs=1000",
  "deleteDelayMs=10000",
].flatMap((change) => ["--deadline", change]);

const churn = join(packageRoot, "test/helpers/churn.py");

/** Writers and readers on the mount, until `end` is called, which resolves when they are done. */
function work(cluster: TestCluster): { readonly end: () => Promise<Outcome> } {
  const stop = join(cluster.dir, "stop");
  const ended = run("python3", [churn, cluster.mnt, stop]);
  return {
    end: async () => {
      await writeFile(stop, "");
      return ended;
    },
  };
}

const written = async (cluster: TestCluster) =>
  (await readdir(join(cluster.mnt, "churn")).catch(() => [])).filter((name) => !name.startsWith(".")).length;

async function nodeOf(cluster: TestCluster, name: string) {
  const { nodes } = await cluster.status();
  return nodes.find((node) => node.name === name);
}

/** Waits until every chunk has as many copies as it shall have. */
const whole = (cluster: TestCluster) =>
  cluster.until(({ underReplicated, pending }) => underReplicated + pending === 0);

/** Everything reads as it was written, on a mount that has nothing in memory, from the nodes themselves. */
async function allThere(t: Test, cluster: TestCluster, name: string): Promise<void> {
  const fresh = await cluster.mountAgain(name, ["--no-short-circuit"]);
  t.match(await must("python3", [churn, fresh]), /^\d+ files are as they were written/);
}

test("D7, D8: a node is drained under writers and readers, through deaths of both daemons, and removed", async (t) => {
  const cluster = await TestCluster.start(t, ["--storage", "4", "--chunk-size", "256KiB", ...FAST]);
  const users = work(cluster);
  await until(async () => (await written(cluster)) >= 60);
  const command = ["--data", cluster.data];
  t.equal((await bigfsd(["node", "drain", "store2", ...command])).code, 0);
  await cluster.kill("store2");
  await cluster.up();
  await cluster.kill("meta");
  await cluster.up();
  t.equal((await nodeOf(cluster, "store2"))?.state, "DRAINING");
  t.equal((await bigfsd(["node", "drain", "store4", "--cancel", ...command])).code, 0, "one that is not drained stays");
  await cluster.until(({ nodes }) => nodes.some(({ name, copies }) => name === "store2" && copies === 0));
  const { pid, data } = await cluster.member("store2");
  const removed = await bigfsd(["node", "rm", "store2", ...command]);
  t.equal(removed.code, 0, removed.stderr);
  await gone(pid);
  t.match(await users.end(), { code: 0 });
  const chunks = await readdir(join(data, "chunks"), { recursive: true });
  t.same(
    chunks.filter((name) => name.endsWith(".chunk")),
    [],
    "nothing is left on it",
  );
  await rm(data, { recursive: true });
  await allThere(t, cluster, "fresh");
  await cluster.down();
  await cluster.up();
  t.match(await must("python3", [churn, cluster.mnt]), /files are as they were written/, "it starts without the node");
});

test("D28: a node that is lost with its disk is removed under writers and readers, and its copies are made again", async (t) => {
  const cluster = await TestCluster.start(t, ["--chunk-size", "256KiB", ...FAST]);
  const users = work(cluster);
  await until(async () => (await written(cluster)) >= 60);
  const { data } = await cluster.member("store3");
  await cluster.kill("store3");
  await rm(data, { recursive: true });
  const removed = await bigfsd(["node", "rm", "store3", "--lost", "--data", cluster.data]);
  t.equal(removed.code, 0, removed.stderr);
  await whole(cluster);
  t.match(await users.end(), { code: 0 });
  await whole(cluster);
  t.match(await nodeOf(cluster, "store3"), { state: "RETIRED", copies: 0 });
  await cluster.kill("store1");
  await allThere(t, cluster, "fresh");
});
