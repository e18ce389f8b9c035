import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test, type Test } from "tap";
import { SCHEMAS } from "../../../daemon/cli/schemas.js";
import { bigfsd } from "../../helpers/cluster.js";
import { packageRoot } from "../../helpers/package-root.js";

const ROWS = [
  { name: "large-write", title: "write, fsync at the end", unit: "MiB/s" },
  { name: "large-read", title: "read", unit: "MiB/s" },
  { name: "large-read-again", title: "read again", unit: "MiB/s" },
  { name: "random-read", title: "random read 4 KiB", unit: "op/s" },
  { name: "random-write", title: "random write 4 KiB, fsync at the end", unit: "op/s" },
  { name: "append", title: "append 4 KiB, fsync each", unit: "op/s" },
  { name: "mkdir", title: "mkdir", unit: "op/s" },
  { name: "create", title: "create and write", unit: "op/s" },
  { name: "stat", title: "stat", unit: "op/s" },
  { name: "read", title: "open and read", unit: "op/s" },
  { name: "list", title: "list, 100 in a folder", unit: "entry/s" },
  { name: "rename", title: "rename", unit: "op/s" },
  { name: "unlink", title: "unlink", unit: "op/s" },
  { name: "rmdir", title: "rmdir", unit: "op/s" },
];
const READS = ["large-read", "large-read-again", "random-read", "stat", "read", "list"];

const SMALL = ["--quick", "--big-size", "1MiB", "--small-files", "120"];

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "bigfs-bench-test-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** Starts a benchmark that would take long, and waits until it measures. */
async function started(t: Test, dir: string) {
  const bin = join(packageRoot, "dist/daemon/cli/bin.js");
  const child = spawn(process.execPath, [bin, "bench", dir, "--big-size", "0", "--small-files", "100000"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  const stderr = text(child.stderr);
  const ended = once(child, "exit");
  const own = async (): Promise<string> => join(dir, (await readdir(dir))[0] ?? "");
  while (!(await readdir(join(await own(), "measured/thread-0")).catch((): string[] => [])).includes("folder-10")) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { child, stderr, ended, own: await own() };
}

test("every row is in the table, with its unit, and nothing stays in the folder", async (t) => {
  const dir = await folder(t);
  await writeFile(join(dir, "mine"), "stays");
  const { code, stdout, stderr } = await bigfsd(["bench", dir, ...SMALL]);
  t.equal(code, 0, stderr);
  for (const { title, unit } of ROWS) {
    const row = stdout.split("\n").find((line) => line.startsWith(`${title}  `));
    t.match(row?.slice(title.length), new RegExp(`^ +[0-9.]+  ${unit}( +[0-9.]+){4}(  [a-z ]+)?$`), title);
  }
  t.match(stdout, `${dir}: 1 thread with a file of 1 MiB in blocks of 1 MiB, 120 files of 4 KiB\n`);
  t.match(stdout, /^warm: may come from a cache/m);
  t.match(stderr, /^warm up\n1\/14 write.*\n2\/14 read\n/);
  t.same(await readdir(dir), ["mine"]);
});

test("as JSON, the amounts of all threads", async (t) => {
  const dir = await folder(t);
  const { code, stdout } = await bigfsd(["bench", dir, ...SMALL, "--block-size", "300KiB", "-p", "2", "--json"]);
  t.equal(code, 0);
  const report = SCHEMAS.bench.parse(JSON.parse(stdout));
  t.match(report, { folder: dir, options: { threads: 2, bigSize: 2 ** 20, smallFiles: 120, smallSize: 4096 } });
  t.same(
    report.results.map(({ name, unit }) => ({ name, unit })),
    ROWS.map(({ name, unit }) => ({ name, unit })),
  );
  for (const { name, amount, rate, seconds, calls, cache, latencyMs } of report.results) {
    t.ok(Math.abs(rate * seconds - amount) < 0.01 * amount, `${name}: the rate is the amount by the time`);
    t.equal(cache !== null, READS.includes(name), `${name}: only reads can be warm`);
    t.ok(latencyMs.p50 <= latencyMs.p95 && latencyMs.p95 <= latencyMs.p99 && latencyMs.p99 <= latencyMs.max, name);
    t.ok(calls > 0);
  }
  const found = new Map(report.results.map((result) => [result.name, result]));
  t.match(found.get("large-write"), { amount: 2, calls: 2 * (4 + 1) });
  t.match(found.get("large-read-again"), { amount: 2, calls: 8, cache: "warm" });
  t.match(found.get("create"), { amount: 240, calls: 240 });
  t.match(found.get("list"), { amount: 240, calls: 4 });
  t.same(await readdir(dir), []);
});

test("a size or number of 0 leaves its part out", async (t) => {
  const dir = await folder(t);
  const names = async (args: readonly string[]) => {
    const { stdout } = await bigfsd(["bench", dir, "--quick", "--json", ...args]);
    return SCHEMAS.bench.parse(JSON.parse(stdout)).results.map(({ name }) => name);
  };
  const all = ROWS.map(({ name }) => name);
  t.same(await names(["--big-size", "1MiB", "--small-files", "0"]), all.slice(0, 6));
  t.same(await names(["--big-size", "0", "--small-files", "10"]), all.slice(6));
});

test("Ctrl-C leaves nothing and ends with 130", async (t) => {
  const dir = await folder(t);
  const { child, ended, stderr } = await started(t, dir);
  child.kill("SIGINT");
  t.same(await ended, [130, null]);
  t.match(await stderr, /\ninterrupted: .*\n$/);
  t.same(await readdir(dir), []);
});

test("what fails on the way is told with what was done, and nothing stays", async (t) => {
  const dir = await folder(t);
  const { ended, stderr, own } = await started(t, dir);
  await rename(join(own, "measured"), join(own, "elsewhere"));
  t.same(await ended, [1, null]);
  t.match(await stderr, new RegExp(`\nbigfsd: mkdir, in ${dir}: ENOENT: .*mkdir.* \\(ENOENT\\)\n$`));
  t.same(await readdir(dir), []);
});

test("folders that cannot be used, and options that make no sense, are refused", async (t) => {
  const dir = await folder(t);
  const file = join(dir, "file");
  await writeFile(file, "");
  for (const [args, code, stderr] of [
    [[join(dir, "none")], 1, /none: there is no such folder.*\(ENOENT\)\n$/],
    [[file], 1, /file: it is no folder \(ENOTDIR\)\n$/],
    [
      [dir, "--big-size", "1TiB", "-p", "64"],
      1,
      /64 TiB are to be written and .* are free: give smaller.*\(ENOSPC\)\n$/,
    ],
    [[dir, "--big-size", "much"], 2, /--big-size much: give a size/],
    [[dir, "--block-size", "1"], 2, /--block-size: give a whole number from 4096/],
    [[dir, "--threads", "0"], 2, /--threads: give a whole number from 1 to 64/],
    [[dir, "--small-files", "1.5"], 2, /--small-files: give a whole number/],
    [[dir, "--big-size", "0", "--small-files", "0"], 2, /leave nothing/],
  ] as const) {
    t.match(await bigfsd(["bench", ...args]), { code, stderr, stdout: "" }, args.join(" "));
  }
  t.same(await readdir(dir), ["file"]);
});
