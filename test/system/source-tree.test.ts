import { join } from "node:path";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { must, run, sh } from "../helpers/run.js";
import { listing, sourceTree } from "../helpers/trees.js";

test("a source tree of several thousand files stays equal through restarts and the death of a storage daemon", async (t) => {
  const cluster = await TestCluster.start(t);
  const { tree, tar, files } = await sourceTree(cluster.dir);
  t.ok(files > 3000, `the tree has ${files} entries`);
  const expected = await listing(tree);
  const same = async (name: string, when: string) => {
    const copy = join(cluster.mnt, name);
    t.equal((await run("diff", ["-r", "--no-dereference", tree, copy])).code, 0, `${name} has the same bytes ${when}`);
    t.equal(await listing(copy), expected, `${name} has the same modes and times ${when}`);
  };

  await must("cp", ["-a", tree, join(cluster.mnt, "copied")]);
  await sh(`mkdir unpacked && tar xpf ${tar} -C unpacked`, { cwd: cluster.mnt });
  await same("copied", "after cp -a");
  await same("unpacked", "after tar x");

  await cluster.down();
  await cluster.up();
  await same("copied", "after down and up");

  const remote = await cluster.mountAgain("remote", ["--no-short-circuit"]);
  const reading = [cluster.mnt, remote].map((mount) =>
    run("bash", ["-c", `for i in 1 2; do diff -r --no-dereference ${tree} ${mount}/unpacked || exit 1; done`]),
  );
  await cluster.kill("store2");
  for (const reads of reading) {
    t.match(await reads, { code: 0, stdout: "", stderr: "" }, "reading goes on without one error");
  }
  await cluster.staysSmall(t);
  await must("rm", ["-rf", join(cluster.mnt, "copied")]);
  t.equal(await sh("ls", { cwd: cluster.mnt }), "unpacked\n");
});

test("a killed metadata daemon that is started again costs an unpacking tar nothing but time", async (t) => {
  const cluster = await TestCluster.start(t);
  const { tree, tar } = await sourceTree(cluster.dir);
  const target = join(cluster.mnt, "unpacked");
  await must("mkdir", [target]);
  const unpacking = run("tar", ["xpf", tar, "-C", target]);
  const started = async () => Number(await sh(`find ${target} | wc -l`)) > 500;
  while (!(await started())) await new Promise((resolve) => setImmediate(resolve));
  await cluster.kill("meta");
  await cluster.up();
  t.match(await unpacking, { code: 0, stderr: "" });
  t.equal((await run("diff", ["-r", "--no-dereference", tree, target])).stdout, "");
  t.equal(await listing(target), await listing(tree));
  await cluster.staysSmall(t);
});
