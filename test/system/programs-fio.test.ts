import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { must, needs } from "../helpers/run.js";

/** Ways to the same bytes: engine, and whether past the kernel's pages. */
const WAYS = [
  ["psync", "0"],
  ["psync", "1"],
  ["mmap", "0"],
  ["libaio", "1"],
] as const;

test("fio reads on two mounts at once what it has written in random places, in every way, and each from the other", async (t) => {
  await needs("fio");
  const cluster = await TestCluster.start(t);
  const mounts = [cluster.mnt, await cluster.mountAgain("second")];
  const fio = (folder: string, [engine, direct]: (typeof WAYS)[number], ...more: string[]) =>
    must("fio", [
      ...[`--name=${engine}-${direct}`, `--directory=${folder}`, `--ioengine=${engine}`, `--direct=${direct}`],
      ...["--rw=randwrite", "--bs=4k-64k", "--size=8m", "--iodepth=8", "--randseed=7", "--fallocate=none"],
      ...["--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--numjobs=2", ...more],
    ]);
  for (const [n, mount] of mounts.entries()) await mkdir(join(mount, String(n)));
  for (const way of WAYS) {
    await Promise.all(mounts.map((mount, n) => fio(join(mount, String(n)), way, "--do_verify=1")));
    await Promise.all(mounts.map((mount, n) => fio(join(mount, String(1 - n)), way, "--verify_only")));
    t.pass(`${way.join(", direct=")}: every block has its checksum`);
  }
  await cluster.staysSmall(t);
});
