import { mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type Test } from "tap";
import type { ClusterFile } from "../../../daemon/cli/cluster-file.js";
import { SCHEMAS } from "../../../daemon/cli/schemas.js";
import { startTimeOf } from "../../../daemon/common/process.js";
import { bigfsd } from "../../helpers/cluster.js";
import { must } from "../../helpers/run.js";
import { KEY, Lab } from "../client/lab.js";

interface Place {
  readonly lab: Lab;
  readonly dir: string;
  readonly cluster: readonly string[];
}

async function place(t: Test): Promise<Place> {
  const lab = await Lab.start(t);
  const dir = await mkdtemp(join(tmpdir(), "bigfs-doctor-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, "cluster.key"), `${KEY.toString("hex")}\n`, { mode: 0o600 });
  return { lab, dir, cluster: ["--meta", lab.meta.listen, "--key", join(dir, "cluster.key")] };
}

async function findings(args: readonly string[]): Promise<{ code: number; of: (check: string) => object | undefined }> {
  const { code, stdout } = await bigfsd(["doctor", "--json", ...args]);
  const all = SCHEMAS.doctor.parse(JSON.parse(stdout)).findings;
  return { code, of: (check) => all.find((found) => found.check === check) };
}

test("doctor looks at the machine, a disk and a cluster, and leaves nothing behind", async (t) => {
  const { dir, cluster } = await place(t);
  const disk = join(dir, "disk");
  await mkdir(disk);
  const { of } = await findings([...cluster, "--disk", disk, "--disk", dir]);
  t.match(of("node-version"), { level: "ok", what: /^Node.js/ });
  t.match(of("disk-space"), { what: new RegExp(`^${disk}: .* free of`) });
  t.match(of("disk-sync"), { what: /fsync takes/ });
  t.match(of("disk-shared"), { level: "note", what: `${disk}, ${dir} are on one disk: they are lost together` });
  t.match(of("reachable"), { level: "ok" });
  t.match(of("clock"), { level: "ok" });
  t.match(of("nodes"), { level: "ok", what: /^3 of 3/ });
  t.match(of("hosts"), { level: "warning", what: /one host \(127.0.0.1\)/ });
  t.same(await readdir(disk), []);
  const shown = await bigfsd(["doctor", ...cluster]);
  t.match(
    shown.stdout,
    /^warning {2}all 3 storage daemons are on one host.*\n {9}fix: on another machine: bigfsd store/m,
  );
});

test("doctor says what is wrong with the way to a cluster, and ends with 1", async (t) => {
  const { lab, dir, cluster } = await place(t);
  t.match(await bigfsd(["doctor", "--meta", lab.meta.listen]), { code: 2, stderr: /no cluster key/ });
  const other = join(dir, "other.key");
  await writeFile(other, `${Buffer.alloc(32, 1).toString("hex")}\n`, { mode: 0o600 });
  const wrong = await findings(["--meta", lab.meta.listen, "--key", other]);
  t.match(wrong, { code: 1 });
  t.match(wrong.of("key"), { level: "error", what: /another cluster key|another key/, fix: /chmod 600/ });
  const absent = await findings(["--meta", lab.meta.listen, "--key", join(dir, "none"), "--disk", join(dir, "none")]);
  t.match(absent, { code: 1 });
  t.match(absent.of("key"), { level: "error", what: /no such file/ });
  t.match(absent.of("disk-space"), { level: "error", what: /cannot be looked at/ });
  await lab.meta.stop();
  const gone = await findings(cluster);
  t.match(gone, { code: 1 });
  t.match(gone.of("reachable"), { level: "error", fix: new RegExp(`--listen ${lab.meta.listen}`) });
});

/** As 'up' leaves it behind, with this process as one that runs. */
async function upFolder({ lab, dir }: Place): Promise<void> {
  const started = startTimeOf(process.pid) ?? "";
  const common = { role: "store", listen: "127.0.0.1:1", data: dir } as const;
  const file: ClusterFile = {
    volume: "v",
    meta: lab.meta.listen,
    processes: [
      { ...common, name: "store1", pid: process.pid, started },
      { ...common, name: "store2", pid: process.pid, started: "long ago" },
    ],
  };
  await writeFile(join(dir, "cluster.json"), JSON.stringify(file));
  await mkdir(join(dir, "log"));
  const records = [
    { level: 30, name: "store", msg: "started", listen: "127.0.0.1:1" },
    { level: 50, msg: "a rule broke", input: { key: KEY.toString("hex"), name: "salaries.ods" } },
  ];
  await writeFile(join(dir, "log", "store1.log"), records.map((record) => `${JSON.stringify(record)}\n`).join(""));
}

test("debug packs state, findings and logs, without the key and without names of files", async (t) => {
  const here = await place(t);
  await upFolder(here);
  const file = join(here.dir, "bundle.tar.gz");
  const outcome = await bigfsd(["debug", "--data", here.dir, "--output", file, "--json"]);
  t.match(outcome, { code: 0 });
  t.match(SCHEMAS.debug.parse(JSON.parse(outcome.stdout)), {
    file,
    contents: [
      ...["cluster.json", "doctor.json", "log/store1.log", "metrics/store1.prom", "metrics/store2.prom"],
      ...["processes/store1.json", "processes/store2.json", "status.json", "versions.json"],
    ],
  });
  t.equal((await stat(file)).mode & 0o777, 0o600);
  await must("tar", ["-xzf", file, "-C", here.dir]);
  const read = (name: string) => readFile(join(here.dir, "bigfs-debug", name), "utf8");
  t.match(JSON.parse(await read("status.json")), { phase: "serve", nodes: { length: 3 } });
  t.match(JSON.parse(await read("processes/store1.json")), { runs: true, pid: process.pid });
  t.match(JSON.parse(await read("processes/store2.json")), { runs: false });
  t.match(await read("doctor.json"), /"node-version"/);
  t.match(await read("log/store1.log"), /"started".*127.0.0.1:1.*\n.*"a rule broke"/);
  const all = await must("grep", ["-rc", "", join(here.dir, "bigfs-debug")]);
  t.equal(all.trim().split("\n").length, 9);
  for (const secret of [KEY.toString("hex"), KEY.toString("base64"), "salaries"]) {
    t.equal((await must("bash", ["-c", `grep -rlF '${secret}' '${here.dir}/bigfs-debug' || true`])).trim(), "", secret);
  }
});

test("debug packs what it can when the cluster is away, and overwrites nothing", async (t) => {
  const here = await place(t);
  await upFolder(here);
  await here.lab.meta.stop();
  const file = join(here.dir, "bundle.tar.gz");
  t.match(await bigfsd(["debug", "--data", here.dir, "--output", file]), { code: 0, stdout: `${file}\n` });
  const status = await must("tar", ["-xzOf", file, "bigfs-debug/status.json"]);
  t.match(status, /^not to be had: .*cannot be reached/);
  const before = await readFile(file);
  t.match(await bigfsd(["debug", "--output", file]), { code: 1, stderr: /is there already\n {2}give another file/ });
  t.ok(before.equals(await readFile(file)));
  const none = join(here.dir, "none.tar.gz");
  t.match(await bigfsd(["debug", "--data", join(here.dir, "nowhere"), "--output", none]), { code: 2 });
  await t.rejects(stat(none), { code: "ENOENT" });
});
