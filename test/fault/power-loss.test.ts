import { open, readFile, readdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import type { StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { TestCluster, bigfsd, childrenOf, gone } from "../helpers/cluster.js";
import { LoopDisk } from "../helpers/loop-disk.js";
import { Manifest, contentOf } from "../helpers/manifest.js";
import { run, sh } from "../helpers/run.js";

const soon = (...changes: string[]) => changes.flatMap((change) => ["--deadline", change]);

test("a store whose power was cut reports no copy that is not whole, and no good one is lost (D33)", async (t) => {
  let disk: LoopDisk | undefined;
  // Nothing is fsynced by itself.
  const args = ["--capacity", "100MiB"].concat(
    soon("syncMs=600000", "confirmMs=2000", "heartbeatMs=500", "nodeDownMs=3000"),
  );
  const cluster = await TestCluster.start(t, args, async ({ data }) => {
    disk = await LoopDisk.mount(t, join(data, "store1"), 200);
  });
  const files = Array.from({ length: 60 }, (_, i) => `f${i}`);
  for (const name of files) await writeFile(join(cluster.mnt, name), contentOf(name, 100_000));
  await disk?.cutPower("names");
  await cluster.kill("store1");
  await disk?.powerOn();
  const { data } = await cluster.member("store1");
  const empty = await sh(`find ${data}/chunks -name '*.chunk' -size 0 | wc -l`);
  t.ok(Number(empty) > 0, `${empty.trim()} chunk files have their names and no bytes`);
  await cluster.up();
  const status = async () =>
    JSON.parse((await bigfsd(["status", "--json", "--data", cluster.data])).stdout) as StatusReply;
  const isWhole = ({ nodes, underReplicated, pending }: StatusReply) =>
    nodes.every(({ state }) => state === "UP") && underReplicated === 0 && pending === 0;
  while ((await readdir(join(data, "quarantine"))).length < Number(empty) || !isWhole(await status()));
  // The other copy of what store1 holds now is not needed any more.
  await cluster.kill("store2");
  const second = await cluster.mountAgain("second", ["--no-short-circuit"]);
  for (const name of files) {
    if (!(await readFile(join(second, name))).equals(contentOf(name, 100_000))) t.fail(`${name} has other bytes`);
  }
});

test("after a power cut of everything what was fsynced is there, and what was saved by rename is old or new (D35)", async (t) => {
  let disk: LoopDisk | undefined;
  const cluster = await TestCluster.start(t, soon("syncMs=600000"), async ({ data }) => {
    disk = await LoopDisk.mount(t, data, 600);
  });
  await sh(`sync -f ${cluster.data}`);
  const manifest = new Manifest();
  for (let i = 0; i < 8; i++) await manifest.write(cluster.mnt, i % 2 === 0 ? 150_000 : 2_000);
  const saved = Array.from({ length: 8 }, (_, i) => `saved${i}`);
  const size = (name: string) => (name < "saved4" ? 150_000 : 2_000);
  for (const name of saved) {
    const file = await open(join(cluster.mnt, name), "wx");
    await file.write(contentOf(`old ${name}`, size(name)));
    await file.sync();
    await file.close();
  }
  // As editors do that do not fsync.
  for (const name of saved) {
    await writeFile(join(cluster.mnt, "temp"), contentOf(`new ${name}`, size(name)));
    await rename(join(cluster.mnt, "temp"), join(cluster.mnt, name));
  }
  const { processes } = await cluster.file();
  await disk?.cutPower("names");
  const pids = processes.flatMap(({ pid }) => [pid, ...childrenOf(pid)]);
  for (const pid of pids) process.kill(pid, "SIGKILL");
  for (const pid of pids) await gone(pid);
  await run("fusermount3", ["-uz", cluster.mnt]);
  await disk?.powerOn();
  await cluster.up();
  t.same(await manifest.checkAll(cluster.mnt), []);
  for (const name of saved) {
    const found = await readFile(join(cluster.mnt, name));
    const isWhole = ["old", "new"].some((which) => found.equals(contentOf(`${which} ${name}`, size(name))));
    t.ok(isWhole, `${name} is the old or the new one, whole`);
  }
  // Its list of processes lies on the disk that goes first.
  await cluster.down();
});
