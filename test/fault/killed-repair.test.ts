import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { Layout } from "../../daemon/common/chunks/layout.js";
import type { StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { Manifest } from "../helpers/manifest.js";
import { mortally } from "../helpers/mortal.js";
import { packageRoot } from "../helpers/package-root.js";
import { shortDeadlines } from "../helpers/short-deadlines.js";

const FAST = shortDeadlines();

const BIN = join(packageRoot, "dist/daemon/cli/bin.js");

const statusOf = async (cluster: TestCluster) =>
  JSON.parse((await bigfsd(["status", "--json", "--data", cluster.data])).stdout) as StatusReply;

/** One daemon of the cluster, which was killed, started again to die at that step; resolves to how it ended. */
async function die(cluster: TestCluster, name: string, dieAt: string): Promise<unknown[]> {
  const { data, listen, role } = await cluster.member(name);
  const { meta } = await cluster.file();
  const args = [role, "--data", data, "--listen", listen, "--key", cluster.keyFile, ...FAST];
  if (role === "store") args.push("--meta", meta, "--zone", name, "--name", name);
  const child = spawn(process.execPath, [BIN, ...args], {
    env: { ...process.env, ...mortally(dieAt) },
    stdio: "ignore",
  });
  return once(child, "exit");
}

test("whoever is killed while copies are made again, they are made", async (t) => {
  const cluster = await TestCluster.start(t, FAST);
  const manifest = new Manifest();
  for (let i = 0; i < 25; i++) await manifest.write(cluster.mnt, 100_000);
  /** The disk of that store loses all its chunks, and it notices. */
  const lose = async (loser: string): Promise<void> => {
    const { chunks } = new Layout((await cluster.member(loser)).data);
    for (const name of await readdir(chunks, { recursive: true })) {
      if (name.endsWith(".chunk")) await rm(join(chunks, name));
    }
    const asked = await bigfsd(["node", "scrub", loser, "--data", cluster.data]);
    if (asked.code !== 0) throw new Error(asked.stderr);
  };
  const whole = async (): Promise<void> => {
    for (;;) {
      const { underReplicated, pending } = await statusOf(cluster);
      if (underReplicated === 0 && pending === 0) return;
    }
  };
  // Who loses its copies gets none at once, so that the next ones are made on the third.
  for (const [name, dieAt, loser] of [
    ["meta", "before push replicate@2", "store2"],
    ["meta", "after push replicate@2", "store3"],
    ["store3", "before push replicate@2", "store2"],
    ["store2", "after rename chunk@2", "store3"],
    ["store3", "before report confirm", "store2"],
  ] as const) {
    await cluster.kill(name);
    const death = die(cluster, name, dieAt);
    while ((await statusOf(cluster).catch(() => undefined))?.nodes.some(({ state }) => state !== "UP") !== false);
    await lose(loser);
    t.same(await death, [null, "SIGKILL"], dieAt);
    await cluster.up();
    await whole();
  }
  const second = await cluster.mountAgain("second", ["--no-short-circuit"]);
  t.same(await manifest.checkAll(second), []);
});
