import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import root, { test } from "tap";
import { DRIVERS } from "../../mount/driver.js";
import { ABILITIES } from "../helpers/abilities.js";
import { TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, run, sh } from "../helpers/run.js";
import { shared } from "../helpers/shared.js";
import { listing } from "../helpers/trees.js";
import { until } from "../helpers/until.js";

for (const driver of DRIVERS) {
  const { timeDigits } = ABILITIES[driver];
  const started = shared(() => TestCluster.start(root, ["--driver", driver]));

  test(`while the metadata daemon is away for ten seconds, a copy waits, and then goes on (${driver})`, async (t) => {
    const cluster = await started();
    const tree = join(packageRoot, "node_modules", "zod");
    const target = join(cluster.mnt, "copied");
    const copying = run("cp", ["-a", tree, target]);
    await until(async () => Number(await sh(`find ${cluster.mnt} | wc -l`)) > 50);
    await cluster.kill("meta");
    // The absence is what is tested; nothing else waits for this time.
    await setTimeout(10_000);
    await cluster.up();
    t.match(await copying, { code: 0, stderr: "" });
    t.equal((await run("diff", ["-r", "--no-dereference", tree, target])).stdout, "");
    t.equal(await listing(target, timeDigits), await listing(tree, timeDigits));
    await must("rm", ["-rf", target]);
  });

  test(`killed in the middle of rm -rf, which was told of names that it had not heard of, it comes back and has removed them all (${driver})`, async (t) => {
    const cluster = await started();
    const tree = join(packageRoot, "node_modules", "zod");
    const target = join(cluster.mnt, "copied");
    await must("cp", ["-a", tree, target]);
    // What rm removes under find's eyes makes find exit with 1: what it has printed counts all the same.
    const count = async () => (await run("find", [cluster.mnt])).stdout.split("\n").length;
    const all = await count();
    const removing = run("rm", ["-rf", target]);
    await until(async () => (await count()) <= all - 50);
    await cluster.kill("meta");
    await cluster.up();
    t.match(await removing, { code: 0, stderr: "" });
    t.same(await readdir(cluster.mnt), []);
    await must("sync", ["-f", cluster.mnt]);
    await cluster.kill("meta");
    await cluster.up();
    t.same(await readdir(cluster.mnt), [], "and it stays so");
  });
}
