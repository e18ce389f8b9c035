import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { Agent } from "../helpers/agent.js";
import { TestCluster } from "../helpers/cluster.js";
import { must } from "../helpers/run.js";
import { deadlineOptions } from "../helpers/short-deadlines.js";

/** Adds 1 to the number in a file so many times, under its lock; prints what it read. */
const COUNT = `
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
for _ in range(int(sys.argv[2])):
    fcntl.lockf(fd, fcntl.LOCK_EX)
    n = int(os.pread(fd, 20, 0)) + 1
    os.pwrite(fd, b"%020d" % n, 0)
    fcntl.lockf(fd, fcntl.LOCK_UN)
    print(n, flush=True)
`;

test("no addition under a lock is lost between two mounts, while the metadata daemon is killed again and again", async (t) => {
  const cluster = await TestCluster.start(t);
  const second = await cluster.mountAgain("second");
  await writeFile(join(cluster.mnt, "count"), "0".repeat(20));
  const each = 150;
  const counting = [cluster.mnt, second, cluster.mnt, second].map((mnt) =>
    must("python3", ["-c", COUNT, join(mnt, "count"), String(each)]),
  );
  const counted = async () => Number(await readFile(join(second, "count"), "utf8"));
  for (const until of [100, 300]) {
    while ((await counted()) < until) await new Promise((resolve) => setImmediate(resolve));
    await cluster.kill("meta");
    await cluster.up();
  }
  const numbers = (await Promise.all(counting)).flatMap((text) => text.trim().split("\n").map(Number));
  t.equal(numbers.length, 4 * each);
  t.same(
    numbers.sort((a, b) => a - b),
    Array.from({ length: 4 * each }, (_, n) => n + 1),
  );
  t.equal(await counted(), 4 * each);
});

const SHORT = deadlineOptions({ leaseMs: 3_000, leaseMarginMs: 500, renewMs: 500 });

test("a lock is free when the mount that had it was killed, not before its lease is over", async (t) => {
  const cluster = await TestCluster.start(t, SHORT);
  const second = await cluster.mountAgain("second", SHORT);
  await mkdir(join(cluster.mnt, "d"));
  const open = (mnt: string) => `fd = os.open(${JSON.stringify(join(mnt, "d/f"))}, os.O_RDWR | os.O_CREAT)`;
  const [holder, other] = [new Agent(t), new Agent(t)];
  t.same(await holder.ask(open(cluster.mnt)), { value: null });
  t.same(await holder.ask("fcntl.lockf(fd, fcntl.LOCK_EX)"), { value: null });
  // It has the file open all the time: who opens what a dead mount has open to write waits for the end of its lease.
  t.same(await other.ask(open(second)), { value: null });
  t.same(await other.ask("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)"), { errno: "EAGAIN" });
  await cluster.kill("mount");
  t.same(
    await other.ask("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)"),
    { errno: "EAGAIN" },
    "it may only be cut off",
  );
  t.same(await other.ask("fcntl.lockf(fd, fcntl.LOCK_EX)"), { value: null });
});
