import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import root, { test, type Test } from "tap";
import { DRIVERS } from "../../mount/driver.js";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, run, type Outcome } from "../helpers/run.js";
import { shared } from "../helpers/shared.js";

const CLUSTERS = {
  own: shared(() => TestCluster.start(root, ["--storage", "2", "--driver", "own"])),
  "fuse-native": shared(() => TestCluster.start(root, ["--storage", "2", "--driver", "fuse-native"])),
} as const;

/** One clear error: a line that says what and where, a line with the way out, nothing else, exit code not 0. */
function refused(t: Test, outcome: Outcome, what: RegExp, wayOut: RegExp, name: string): void {
  t.not(outcome.code, 0, `${name}: exit code`);
  const told = outcome.stderr
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("{") && !line.includes("starting"));
  t.match(told.join("\n"), what, `${name}: what`);
  t.match(told.join("\n"), wayOut, `${name}: the way out`);
  t.ok(told.length <= 3, `${name}: short\n${told.join("\n")}`);
  t.notMatch(outcome.stderr.replaceAll(/^\{.*\n/gm, ""), /\n\s+at /, `${name}: no stack`);
}

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "bigfs-refuse-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

test("a daemon whose port is taken says so and starts nothing", async (t) => {
  const dir = await folder(t);
  await must(process.execPath, [
    "-e",
    "require('fs').writeFileSync(process.argv[1], require('crypto').randomBytes(32).toString('hex') + '\\n', {mode: 0o600})",
    join(dir, "key"),
  ]);
  const server = createServer().listen(0, "127.0.0.1");
  t.teardown(() => void server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const meta = ["meta", "--data", join(dir, "meta"), "--listen", address, "--key", join(dir, "key")];
  refused(t, await bigfsd(meta), new RegExp(address), /--listen/, "meta");
  const store = ["store", "--data", join(dir, "store"), "--listen", address, "--key", join(dir, "key")];
  refused(t, await bigfsd([...store, "--meta", "127.0.0.1:1"]), new RegExp(address), /--listen/, "store");
  const everywhere = ["store", "--data", join(dir, "store"), "--listen", "0.0.0.0:0", "--key", join(dir, "key")];
  const unnamed = await bigfsd([...everywhere, "--meta", "127.0.0.1:1"]);
  refused(t, unnamed, /every address/, /--advertise/, "a store that says no address of its own");
});

test("keys and addresses that are wrong or missing are told apart", async (t) => {
  const cluster = await CLUSTERS.own();
  const { meta } = await cluster.file();
  const wrong = join(cluster.dir, "wrong.key");
  await writeFile(wrong, `${"ab".repeat(32)}\n`, { mode: 0o600 });
  const status = await bigfsd(["status", "--meta", meta, "--key", wrong]);
  refused(t, status, /key/, /cluster\.key|--key/, "status");
  t.equal(status.code, 4);
  const other = join(cluster.dir, "wrongly");
  await mkdir(other);
  refused(t, await bigfsd(["mount", other, "--meta", meta, "--key", wrong]), /key/, /--key/, "mount");
  t.equal((await run("mountpoint", ["-q", other])).code, 32, "nothing was mounted");
  refused(t, await bigfsd(["status", "--meta", meta]), /key/, /--key FILE/, "no key");
  refused(
    t,
    await bigfsd(["status", "--meta", meta, "--key", join(cluster.dir, "none")]),
    /none/,
    /--key|bigfsd/,
    "no such key",
  );
  const nobody = await bigfsd(["status", "--meta", "127.0.0.1:1", "--key", cluster.keyFile]);
  refused(t, nobody, /127\.0\.0\.1:1/, /bigfsd|running|--meta/, "nobody there");
  t.equal(nobody.code, 3);
});

for (const driver of DRIVERS) {
  test(`a mount point that is busy, not empty, no folder or left from a crash (${driver})`, async (t) => {
    const cluster = await CLUSTERS[driver]();
    const options = ["--data", cluster.data, "--log", join(cluster.dir, "log"), "--driver", driver];
    const mount = (path: string) => bigfsd(["mount", path, ...options]);
    const full = join(cluster.dir, "full");
    await mkdir(full);
    await writeFile(join(full, "file"), "");
    refused(t, await mount(full), /full.*not empty/, /empty folder/, "not empty");
    refused(t, await mount(join(full, "file")), /file/, /folder/, "a file");
    refused(t, await mount(join(full, "none")), /none/, /mkdir|folder/, "not there");
    refused(t, await mount(cluster.mnt), /already/, /umount/, "mounted already");
    await cluster.kill("mount");
    t.match(
      await run("ls", [cluster.mnt]),
      { stderr: /not connected|connection abort/ },
      "the crash left a dead mount",
    );
    await cluster.up();
    await writeFile(join(cluster.mnt, "f"), "works again");
    t.equal(await readFile(join(cluster.mnt, "f"), "utf8"), "works again");
  });
}

test("folders of another volume or in use by another daemon are refused", async (t) => {
  const [one, two] = [await CLUSTERS["fuse-native"](), await CLUSTERS.own()];
  const { meta } = await two.file();
  const inUse = await bigfsd([
    "store",
    "--data",
    join(one.data, "store1"),
    "--meta",
    meta,
    "--listen",
    "127.0.0.1:0",
    "--key",
    two.keyFile,
  ]);
  refused(t, inUse, /store1.*(in use|used)/, /pid \d+|stop/, "store in use");
  const metaInUse = await bigfsd([
    "meta",
    "--data",
    join(two.data, "meta"),
    "--listen",
    "127.0.0.1:0",
    "--key",
    two.keyFile,
  ]);
  refused(t, metaInUse, /meta.*(in use|used)/, /pid \d+|stop/, "metadata in use");
  await one.down();
  const foreign = await bigfsd([
    "store",
    "--data",
    join(one.data, "store1"),
    "--meta",
    meta,
    "--listen",
    "127.0.0.1:0",
    "--key",
    two.keyFile,
  ]);
  refused(t, foreign, /volume .* not/, /--data|--meta/, "another volume");
  t.equal(foreign.code, 1);
  await one.up();
});

for (const driver of DRIVERS) {
  test(`without /dev/fuse nothing is mounted and the error says what to do (${driver})`, async (t) => {
    const cluster = await CLUSTERS[driver]();
    const other = join(cluster.dir, "other");
    await mkdir(other);
    const bin = join(packageRoot, "dist/daemon/cli/bin.js");
    // A namespace of its own whose /dev has everything that a program needs, but no fuse.
    const outcome = await run("unshare", [
      "-m",
      "bash",
      "-c",
      `mkdir -p ${cluster.dir}/dev && mount -t tmpfs none ${cluster.dir}/dev && for n in null zero urandom random tty; do
         touch ${cluster.dir}/dev/$n && mount --bind /dev/$n ${cluster.dir}/dev/$n; done &&
       mount --rbind ${cluster.dir}/dev /dev && exec node ${bin} mount ${other} --data ${cluster.data} --log ${cluster.dir}/log --driver ${driver}`,
    ]);
    refused(t, outcome, /\/dev\/fuse/, /modprobe|fuse/, "no /dev/fuse");
  });
}

test("misuse of the command line is told with exit code 2", async (t) => {
  const cases: [string[], RegExp][] = [
    [["up"], /data/],
    [["up", "--data", "x", "--mount", "y", "--storage", "0"], /--storage 0/],
    [["up", "--data", "x", "--mount", "y", "--replicas", "4"], /--replicas 4/],
    [["up", "--data", "x", "--mount", "y", "--chunk-size", "3MiB"], /--chunk-size 3MiB/],
    [["up", "--data", "x", "--mount", "y", "--deadline", "leaseMs=soon"], /leaseMs=soon/],
    [["status"], /--data DIR|--meta/],
    [["frobnicate"], /frobnicate/],
    [["status", "--frobnicate"], /frobnicate/],
  ];
  for (const [args, told] of cases) {
    const outcome = await bigfsd(args);
    t.equal(outcome.code, 2, args.join(" "));
    t.match(outcome.stderr, told, args.join(" "));
  }
});
