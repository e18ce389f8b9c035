import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { stat, writeFile } from "node:fs/promises";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { Diligent } from "../helpers/manifest.js";
import { skewed } from "../helpers/mortal.js";
import { packageRoot } from "../helpers/package-root.js";
import { shortDeadlines } from "../helpers/short-deadlines.js";

const FAST = shortDeadlines({ syncMs: 200 });
const HOUR = 3600;

test("daemons whose clocks are an hour off, either way, lose nothing and clean nothing that is needed (D17)", async (t) => {
  const cluster = await TestCluster.start(t, FAST);
  const second = await cluster.mountAgain("second", FAST);
  const { meta } = await cluster.file();
  const bin = join(packageRoot, "dist/daemon/cli/bin.js");
  const daemons: { readonly daemon: ChildProcess; readonly ended: Promise<unknown> }[] = [];
  const worker = new Diligent(t, { write: cluster.mnt, read: second, sizes: [100_000, 2_000], keep: 25 });
  for (const [name, seconds] of [
    ["store1", HOUR],
    ["store2", -HOUR],
    ["meta", HOUR],
    ["meta", -HOUR],
  ] as const) {
    if (name !== "meta" || seconds > 0) await cluster.kill(name);
    const { role, data, listen } = await cluster.member(name);
    const args = [role, "--data", data, "--listen", listen, "--key", cluster.keyFile, ...FAST];
    if (role === "store") args.push("--meta", meta, "--zone", name, "--name", name);
    const env = { ...process.env, ...skewed(seconds) };
    const daemon = spawn(process.execPath, [bin, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
    const ended = once(daemon, "exit");
    t.teardown(() => daemon.kill("SIGKILL"));
    let said = "";
    for (const output of [daemon.stdout, daemon.stderr]) output.on("data", (text: Buffer) => (said += text.toString()));
    while (!/"started"/.test(said)) await Promise.race([once(daemon.stdout, "data"), once(daemon.stderr, "data")]);
    daemons.push({ daemon, ended });
    if (role === "store") continue;
    // Deletions of some seconds' age become due meanwhile.
    const done = async () => (await stat(join(cluster.data, "store3", "journal"))).size;
    const before = await done();
    while ((await done()) < before + 1_000) await Promise.race([worker.failed, new Promise(setImmediate)]);
    if (seconds > 0) {
      const file = join(cluster.mnt, "now");
      await writeFile(file, "x");
      t.ok((await stat(file)).mtimeMs - Date.now() > (HOUR - 60) * 1000, "times of files are the metadata daemon's");
    }
    daemon.kill("SIGKILL");
    await ended;
  }
  for (const { daemon, ended } of daemons) {
    daemon.kill("SIGKILL");
    await ended;
  }
  await cluster.up();
  const { problems, files } = await worker.stop();
  t.same(problems, []);
  t.ok(files > 0);
});
