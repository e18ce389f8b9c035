import { stat } from "node:fs/promises";
import { join } from "node:path";
import root, { test } from "tap";
import { DRIVERS } from "../../mount/driver.js";
import { ABILITIES } from "../helpers/abilities.js";
import { TestCluster } from "../helpers/cluster.js";
import { must, run, sh } from "../helpers/run.js";
import { shared } from "../helpers/shared.js";
import { listing, sourceTree } from "../helpers/trees.js";
import { until } from "../helpers/until.js";

/** All that a checkout has; with the other driver it is about the calls. */
const PACKAGES = { own: undefined, "fuse-native": ["zod", "yargs"] } as const;

for (const driver of DRIVERS) {
  const { timeDigits, oneTime } = ABILITIES[driver];
  const started = shared(async () => {
    const cluster = await TestCluster.start(root, ["--driver", driver]);
    return { cluster, ...(await sourceTree(cluster.dir, PACKAGES[driver])) };
  });

  test(`a source tree stays equal through restarts and the death of a storage daemon (${driver})`, async (t) => {
    const { cluster, tree, tar, files } = await started();
    t.ok(files > (driver === "own" ? 3000 : 800), `the tree has ${files} entries`);
    const same = async (name: string, when: string) => {
      const copy = join(cluster.mnt, name);
      const digits = name === "unpacked" && !oneTime ? "none" : timeDigits;
      t.equal((await run("diff", ["-r", "--no-dereference", tree, copy])).stdout, "", `${name}: same bytes ${when}`);
      t.equal(await listing(copy, digits), await listing(tree, digits), `${name}: same modes and times ${when}`);
      t.equal((await stat(join(copy, "hard"))).nlink, 2, `${name}: one file by two names ${when}`);
    };

    await must("cp", ["-a", tree, join(cluster.mnt, "copied")]);
    await sh(`mkdir unpacked && tar xpf ${tar} -C unpacked`, { cwd: cluster.mnt });
    await same("copied", "after cp -a");
    await same("unpacked", "after tar x");

    await cluster.down();
    await cluster.up();
    await same("copied", "after down and up");
    await same("unpacked", "after down and up");

    const remote = await cluster.mountAgain("remote", ["--no-short-circuit", "--driver", driver]);
    const reading = [cluster.mnt, remote].map((mount) =>
      run("diff", ["-r", "--no-dereference", tree, join(mount, "unpacked")]),
    );
    await cluster.kill("store2");
    for (const reads of reading) {
      t.match(await reads, { code: 0, stdout: "", stderr: "" }, "reading goes on without one error");
    }
    await cluster.staysSmall(t);
    await must("rm", ["-rf", join(cluster.mnt, "copied")]);
    t.equal(await sh("ls -A", { cwd: cluster.mnt }), "unpacked\n");
  });

  test(`a killed metadata daemon that is started again costs an unpacking tar nothing but time (${driver})`, async (t) => {
    const { cluster, tree, tar } = await started();
    const target = join(cluster.mnt, "again");
    await must("mkdir", [target]);
    const unpacking = run("tar", ["xpf", tar, "-C", target]);
    await until(async () => Number(await sh(`find ${target} | wc -l`)) > 300);
    await cluster.kill("meta");
    await cluster.up();
    t.match(await unpacking, { code: 0, stderr: "" });
    const digits = oneTime ? timeDigits : "none";
    t.equal((await run("diff", ["-r", "--no-dereference", tree, target])).stdout, "");
    t.equal(await listing(target, digits), await listing(tree, digits));
    await cluster.staysSmall(t);
  });
}
