import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { Diligent } from "../helpers/manifest.js";
import { mortally } from "../helpers/mortal.js";
import { packageRoot } from "../helpers/package-root.js";
import { shortDeadlines } from "../helpers/short-deadlines.js";

const FAST = shortDeadlines();

const BIN = join(packageRoot, "dist/daemon/cli/bin.js");

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

test("a metadata daemon that is killed around its commits and deletions costs nobody an error or a byte", async (t) => {
  const cluster = await TestCluster.start(t, FAST);
  const orders = { write: cluster.mnt, read: cluster.mnt, sizes: [100_000, 1_000], keep: 40 };
  const writer = new Diligent(t, orders);
  await cluster.kill("meta");
  const steps = ["before commit@8", "after commit@8", "before commit@60", "after commit@60", "before push remove"];
  for (const dieAt of [...steps, "after push remove"]) {
    t.same(await Promise.race([die(cluster, "meta", dieAt), writer.failed]), [null, "SIGKILL"], dieAt);
  }
  await cluster.up();
  const { files, problems } = await writer.stop();
  t.same(problems, []);
  const second = await cluster.mountAgain("second");
  t.same((await readdir(second)).length, files, "and what was removed stays so");
});
