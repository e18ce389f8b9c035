import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type Test } from "tap";
import type { ClusterFile } from "../../../daemon/cli/cluster-file.js";
import { waitForStatus } from "../../../daemon/cli/local-cluster.js";
import { SCHEMAS } from "../../../daemon/cli/schemas.js";
import { startTimeOf } from "../../../daemon/common/process.js";
import { bigfsd, TestCluster } from "../../helpers/cluster.js";
import { packageRoot } from "../../helpers/package-root.js";
import { run } from "../../helpers/run.js";
import { KEY, Lab } from "../client/lab.js";

const BIN = join(packageRoot, "dist/daemon/cli/bin.js");

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "bigfs-up-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** Processes that were started with something in this folder. */
async function processesOf(dir: string): Promise<string[]> {
  const { stdout } = await run("pgrep", ["-f", `bin.js (meta|store|mount) .*${dir}/`]);
  return stdout.split("\n").filter((pid) => pid !== "");
}

test("what was started, mounted, unmounted and stopped is printed as published", async (t) => {
  const cluster = await TestCluster.start(t, ["--storage", "2"]);
  const parse = <N extends keyof typeof SCHEMAS>(name: N, { stdout, code }: { stdout: string; code: number }) => {
    t.equal(code, 0, name);
    return SCHEMAS[name].parse(JSON.parse(stdout));
  };
  const on = ["--data", cluster.data];
  t.match(parse("up", await bigfsd(["up", ...on, "--json"])), { started: { length: 0 }, processes: { length: 4 } });
  const second = join(cluster.dir, "second");
  await mkdir(second);
  const log = join(cluster.dir, "second.log");
  const mounted = parse("mount", await bigfsd(["mount", second, ...on, "--log", log, "--json"]));
  t.match(mounted, { mountpoint: second, log, pid: Number });
  t.match(parse("umount", await bigfsd(["umount", second, "--json"])), { mountpoint: second });
  const both = await bigfsd(["mount", second, ...on, "--foreground", "--json"]);
  t.match(both, { code: 2, stderr: /leave --foreground out/ });
  const kept = await bigfsd(["up", ...on, "--replicas", "1", "--min-replicas", "1"]);
  t.match(kept, { code: 0, stderr: /the volume is there already and keeps replicas 2, min-replicas 2;/ });
  const names = ["mount", "store2", "store1", "meta"];
  t.match(
    parse("down", await bigfsd(["down", ...on, "--json"])),
    { stopped: names.map((name) => ({ name })) },
    "in their order",
  );
  t.match(parse("down", await bigfsd(["down", ...on, "--json"])), { stopped: { length: 0 } });
  t.match(await bigfsd(["status", ...on]), {
    code: 3,
    stderr: /cannot be reached: connect ECONNREFUSED .*\n.*bigfsd up/,
  });
  t.match(parse("up", await bigfsd(["up", ...on, "--json"])), { started: ["meta", "store1", "store2", "mount"] });
});

test("an up that is interrupted takes back what it has started, and another one works", async (t) => {
  const dir = await folder(t);
  const up = ["up", "--data", join(dir, "cluster"), "--mount", join(dir, "mnt")];
  t.teardown(() => bigfsd(["down", "--data", join(dir, "cluster"), "--force"]));
  const child = spawn(process.execPath, [BIN, ...up], { stdio: ["ignore", "ignore", "pipe"] });
  const exit = once(child, "exit");
  let text = "";
  for await (const part of child.stderr) {
    text += `${part}`;
    // In the middle of a start: of that process nothing is on record yet.
    if (text.includes("starting store2") && !child.killed) child.kill("SIGINT");
  }
  t.same(await exit, [130, null]);
  t.same(await processesOf(dir), []);
  t.match(await bigfsd(up), { code: 0 });
});

test("a mount that is interrupted is not there later", async (t) => {
  const dir = await folder(t);
  await mkdir(join(dir, "mnt"));
  await writeFile(join(dir, "key"), KEY.toString("hex"), { mode: 0o600 });
  // Takes calls and says nothing.
  const silent = createServer();
  t.teardown(() => void silent.close());
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  const meta = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const args = ["mount", join(dir, "mnt"), "--meta", meta, "--key", join(dir, "key"), "--log", join(dir, "log")];
  const child = spawn(process.execPath, [BIN, ...args], { stdio: "ignore" });
  const exit = once(child, "exit");
  await once(silent, "connection");
  child.kill("SIGINT");
  t.same(await exit, [130, null]);
  t.same(await processesOf(dir), []);
});

test("a mount point that cannot be made is told as one, and nothing is left running", async (t) => {
  const dir = await folder(t);
  await writeFile(join(dir, "file"), "");
  const up = ["up", "--data", join(dir, "cluster"), "--mount", join(dir, "file"), "--storage", "1", "--replicas", "1"];
  t.match(await bigfsd(up), { code: 1, stderr: /cannot make the mount point .*file: there is a file of/ });
  t.same(await processesOf(dir), []);
  const size = ["up", "--data", join(dir, "none"), "--mount", join(dir, "mnt"), "--capacity", "x"];
  t.match(await bigfsd(size), { code: 2, stderr: /^bigfsd: --capacity x: give a size/ });
  const log = ["mount", dir, "--meta", "127.0.0.1:1", "--key", join(dir, "cluster", "cluster.key"), "--log", dir];
  t.match(await bigfsd(log), { code: 1, stderr: /cannot write the log file .*\n.*--log FILE/ });
});

test("up waits for a metadata daemon that is slow to answer as long as it lives", async (t) => {
  const lab = await Lab.start(t);
  const data = await folder(t);
  await writeFile(join(data, "cluster.key"), KEY.toString("hex"), { mode: 0o600 });
  const { listen } = lab.meta;
  const fileOf = (started: string | undefined): ClusterFile => ({
    volume: "",
    meta: listen,
    processes: [{ role: "meta", name: "meta", pid: process.pid, started: started ?? "", listen, data }],
  });
  await lab.meta.stop();
  const { signal } = new AbortController();
  await t.rejects(waitForStatus(fileOf("long ago"), { data, signal }), { message: /meta \(pid \d+\) has ended/ });
  const waiting = waitForStatus(fileOf(startTimeOf(process.pid)), { data, signal });
  // Somebody who does not say anything.
  const silent = createServer((socket) => void socket.destroy());
  silent.listen(Number(listen.split(":")[1]), "127.0.0.1");
  for (let calls = 0; calls < 3; calls++) await once(silent, "connection");
  silent.close();
  await once(silent, "close");
  await lab.startMeta(listen);
  t.match(await waiting, { phase: String });
});
