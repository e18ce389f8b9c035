import { open, readFile, readdir, truncate, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type Test } from "tap";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { must, run, sh } from "../helpers/run.js";

/** Removed chunks are cleaned up soon; leases are still long enough for a busy machine. */
const FAST = ["cleanMs=200", "leaseMs=5000", "renewMs=1000", "leaseMarginMs=1000", "deleteDelayMs=10000"].flatMap(
  (change) => ["--deadline", change],
);
const DROP = "sync; echo 3 > /proc/sys/vm/drop_caches";

async function chunkFiles(store: string): Promise<string[]> {
  const found = await sh(`find ${store}/chunks -type f -name '*.chunk'`);
  return found.split("\n").filter((line) => line !== "");
}

test("when every storage daemon is full writers get ENOSPC, the rest is intact, and rm gives the space back", async (t) => {
  const cluster = await TestCluster.start(t, ["--capacity", "64MiB", ...FAST]);
  // Gives up soon, unlike the mount that what must succeed goes through.
  const hasty = await cluster.mountAgain("hasty", ["--deadline", "ioDeadlineMs=5000", ...FAST]);
  await sh("head -c 20M /dev/urandom > kept; sha256sum kept > sum", { cwd: cluster.mnt });
  const flood = await run("dd", ["if=/dev/urandom", `of=${hasty}/flood`, "bs=1M", "count=200", "conv=fsync"]);
  t.not(flood.code, 0);
  t.match(flood.stderr, /No space left on device/);
  await sh(DROP);
  await sh("sha256sum -c sum", { cwd: cluster.mnt });
  await unlink(join(cluster.mnt, "flood"));
  const fits = async () =>
    (await run("dd", ["if=/dev/zero", `of=${cluster.mnt}/again`, "bs=1M", "count=40", "conv=fsync"])).code === 0;
  while (!(await fits())) await run("rm", ["-f", join(cluster.mnt, "again")]);
  await sh(DROP);
  await sh("sha256sum -c sum", { cwd: cluster.mnt });
});

test("one full storage daemon costs nobody a write", async (t) => {
  const cluster = await TestCluster.start(t);
  const small = await cluster.member("store3");
  await cluster.kill("store3");
  const { meta } = await cluster.file();
  const args = ["store", "--data", small.data, "--meta", meta, "--listen", small.listen, "--key", cluster.keyFile];
  const bin = new URL("../../daemon/cli/bin.js", import.meta.url).pathname;
  const full = run(process.execPath, [bin, ...args, "--name", "store3", "--capacity", "8MiB"]);
  const nodes = async () =>
    JSON.parse((await bigfsd(["node", "ls", "--data", cluster.data, "--json"])).stdout) as { state: string }[];
  while (!(await nodes()).every((node) => node.state === "UP")) await new Promise((resolve) => setImmediate(resolve));
  await sh("head -c 60M /dev/urandom > f && sha256sum f > sum", { cwd: cluster.mnt });
  await sh(DROP);
  await sh("sha256sum -c sum", { cwd: cluster.mnt });
  const pid = (await sh(`pgrep -f -- '--data ${small.data} ' || true`)).trim().split("\n")[0];
  if (pid) process.kill(Number(pid), "SIGTERM");
  await full;
});

test("with all storage daemons down a write fails with EIO at close, after ioDeadline, and what was there comes back (D20)", async (t) => {
  const cluster = await TestCluster.start(t);
  const hasty = await cluster.mountAgain("hasty", ["--deadline", "ioDeadlineMs=2000"]);
  await sh("head -c 3M /dev/urandom > kept; sha256sum kept > sum", { cwd: cluster.mnt });
  for (const name of ["store1", "store2", "store3"]) await cluster.kill(name);
  const file = await open(join(hasty, "lost"), "w");
  await file.write(Buffer.alloc(100_000, 1));
  await t.rejects(file.close(), { code: "EIO" }, "close tells");
  const synced = await open(join(hasty, "lost2"), "w");
  await synced.write(Buffer.alloc(100_000, 1));
  await t.rejects(synced.sync(), { code: "EIO" }, "fsync tells");
  await synced.close().catch(() => undefined);
  await cluster.up();
  await sh(DROP);
  await sh("sha256sum -c sum", { cwd: cluster.mnt });
  await writeFile(join(cluster.mnt, "after"), Buffer.alloc(200_000, 7));
  t.same(await readFile(join(cluster.mnt, "after")), Buffer.alloc(200_000, 7));
});

for (const how of ["--short-circuit", "--no-short-circuit"]) {
  test(`a flipped bit and a chunk file of 0 bytes are read from the other copy, ${how} (D19, D33)`, (t) =>
    damaged(t, how));
}

async function damaged(t: Test, how: string): Promise<void> {
  const cluster = await TestCluster.start(t);
  await sh("head -c 40M /dev/urandom > f; sha256sum f > sum; sync f", { cwd: cluster.mnt });
  const bad = await chunkFiles((await cluster.member("store1")).data);
  t.ok(bad.length >= 2, `store1 holds ${bad.length} chunks`);
  for (const [i, path] of bad.entries()) {
    if (i % 2 === 0) await truncate(path, 0);
    else
      await must("python3", [
        "-c",
        `f=open("${path}","r+b");f.seek(-1000,2);b=f.read(1);f.seek(-1000,2);f.write(bytes([b[0]^16]))`,
      ]);
  }
  // A fresh mount, so that nothing is answered from memory.
  const second = await cluster.mountAgain("second", [how]);
  await sh("sha256sum -c sum", { cwd: second });
  const quarantine = join((await cluster.member("store1")).data, "quarantine");
  t.ok((await readdir(quarantine)).length > 0, "bad copies are kept aside, not deleted");
}

test("while the metadata daemon is away operations wait, then go on", async (t) => {
  const cluster = await TestCluster.start(t);
  await writeFile(join(cluster.mnt, "before"), "before");
  await cluster.kill("meta");
  const waiting = Promise.all([
    writeFile(join(cluster.mnt, "during"), "x".repeat(100_000)),
    readFile(join(cluster.mnt, "before"), "utf8"),
    readdir(cluster.mnt),
  ]);
  await cluster.up();
  const [, before] = await waiting;
  t.equal(before, "before");
  t.equal((await readFile(join(cluster.mnt, "during"), "utf8")).length, 100_000);
});
