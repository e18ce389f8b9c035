import { createHash } from "node:crypto";
import { readFile, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { LoopDisk } from "../helpers/loop-disk.js";
import { contentOf } from "../helpers/manifest.js";
import { run, sh } from "../helpers/run.js";
import { shortDeadlines } from "../helpers/short-deadlines.js";

const MIB = 1024 * 1024;
const ARGS = shortDeadlines();

const sumOf = (data: Buffer): string => createHash("sha256").update(data).digest("hex");

test("a disk that is full to the last byte costs nobody a write; when all are, it is ENOSPC until something is removed", async (t) => {
  const disks: LoopDisk[] = [];
  const cluster = await TestCluster.start(t, ARGS, async ({ data }) => {
    for (const name of ["store1", "store2", "store3"]) disks.push(await LoopDisk.mount(t, join(data, name), 200));
  });
  const large = contentOf("large", 40 * MIB);
  await writeFile(join(cluster.mnt, "large"), large);
  // Between two looks of its daemon, so that the disk itself says no.
  await disks[0]?.fill(0);
  for (let i = 0; i < 12; i++) await writeFile(join(cluster.mnt, `f${i}`), contentOf(`f${i}`, MIB));
  t.pass("nobody has noticed");
  // The others keep what their daemons leave free (64 MiB), and hardly more.
  for (const disk of disks.slice(1)) await disk.fill(66);
  const hasty = await cluster.mountAgain("hasty", [...ARGS, "--deadline", "ioDeadlineMs=5000"]);
  const flood = await run("dd", ["if=/dev/urandom", `of=${hasty}/flood`, "bs=1M", "count=20", "conv=fsync"]);
  t.match(flood, { code: 1, stderr: /No space left on device/ });
  await sh("sync; echo 3 > /proc/sys/vm/drop_caches");
  const second = await cluster.mountAgain("second");
  t.equal(sumOf(await readFile(join(second, "large"))), sumOf(large));
  for (let i = 0; i < 12; i++) t.ok((await readFile(join(second, `f${i}`))).equals(contentOf(`f${i}`, MIB)), `f${i}`);
  await unlink(join(cluster.mnt, "large"));
  await run("rm", ["-f", join(hasty, "flood")]);
  const fits = async () =>
    (await run("dd", ["if=/dev/urandom", `of=${hasty}/again`, "bs=1M", "count=10", "conv=fsync"])).code === 0;
  while (!(await fits()));
  t.pass("there is room again");
});
