import { once } from "node:events";
import { spawn } from "node:child_process";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import type { StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { Agent } from "../helpers/agent.js";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { sh } from "../helpers/run.js";
import { shortDeadlines } from "../helpers/short-deadlines.js";

const FAST = shortDeadlines();

const statusOf = async (cluster: TestCluster) =>
  JSON.parse((await bigfsd(["status", "--json", "--data", cluster.data])).stdout) as StatusReply;

test("three 'rm -rf' of one tree on two mounts, the metadata daemon killed meanwhile, leave nothing behind (D26)", async (t) => {
  const cluster = await TestCluster.start(t, FAST);
  const second = await cluster.mountAgain("second", FAST);
  const tree = join(cluster.mnt, "tree");
  await mkdir(tree);
  await sh(
    `for d in $(seq 12); do mkdir -p ${tree}/$d/a/b; for f in $(seq 12); do echo $f > ${tree}/$d/a/$f; done; head -c 20000 /dev/zero > ${tree}/$d/a/b/f; done`,
  );
  const remove = (folder: string) => once(spawn("rm", ["-rf", folder], { stdio: "ignore" }), "exit");
  const all = Promise.all([remove(tree), remove(join(second, "tree")), remove(tree)]);
  // The first folder of twelve is gone.
  while ((await readdir(tree).catch(() => [])).length === 12);
  await cluster.kill("meta");
  await cluster.up();
  await all;
  // Whoever found a name gone under its hands may have given up; nothing must withstand one more.
  await sh(`rm -rf ${tree}`);
  t.same(await readdir(second), []);
  for (let now = await statusOf(cluster); now.chunks > 0 || now.inodes > 1; now = await statusOf(cluster));
  t.match(await statusOf(cluster), { inodes: 1, chunks: 0, bytes: 0, underReplicated: 0 });
  const checked = await bigfsd(["fsck", "--data", cluster.data, "--json"]);
  t.match(JSON.parse(checked.stdout), { findings: [] });
});

test("what a mount has open and in its caches stays readable while another one replaces and removes it (D22)", async (t) => {
  const cluster = await TestCluster.start(t, FAST);
  const second = await cluster.mountAgain("second", FAST);
  await sh(`head -c 3M /dev/urandom > ${cluster.mnt}/f; cp ${cluster.mnt}/f ${cluster.dir}/was`);
  const reader = new Agent(t);
  // It knows where all the bytes are, and has read only some of them.
  await reader.ask(`fd = os.open("${second}/f", os.O_RDONLY)`);
  t.same(await reader.ask("len(os.pread(fd, 100, 0))"), { value: 100 });
  await sh(
    `head -c 3M /dev/urandom > ${cluster.mnt}/new; sync ${cluster.mnt}/new; mv ${cluster.mnt}/new ${cluster.mnt}/f`,
  );
  // Something else that was removed at the same time is gone from the disks: so long ago it was.
  await sh(`head -c 200K /dev/urandom > ${cluster.mnt}/other; sync ${cluster.mnt}/other`);
  const { chunks } = await statusOf(cluster);
  await sh(`rm ${cluster.mnt}/other`);
  while ((await statusOf(cluster)).chunks >= chunks);
  await sh("sync; echo 3 > /proc/sys/vm/drop_caches");
  await reader.ask(`was = open("${cluster.dir}/was", "rb").read()`);
  t.same(await reader.ask("int(os.pread(fd, 4 << 20, 0) == was)"), { value: 1 }, "the open file is as it was");
  await reader.ask("os.close(fd)");
  // And when nobody has it open any more, its bytes go as well.
  while ((await statusOf(cluster)).chunks > 3);
});
