import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { Layout } from "../../daemon/common/chunks/layout.js";
import type { StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { Manifest } from "../helpers/manifest.js";
import { mortally } from "../helpers/mortal.js";
import { packageRoot } from "../helpers/package-root.js";
import { sh } from "../helpers/run.js";
import { shortDeadlines } from "../helpers/short-deadlines.js";

const FAST = shortDeadlines();

/** Of its start: what is there may go to quarantine, and is never removed. */
const STARTING = ["after list folder@100", "after write journal", "before rename journal", "after rename journal"];
const WORKING = [
  ...["after create chunk@2", "before rename chunk@2", "after rename chunk@2"],
  ...["before fsync chunk", "after fsync chunk", "after sync folder@3", "before append journal"],
  ...["before report register", "after report register", "before report confirm", "before report synced"],
  ...["before push remove", "before remove chunk@2", "before report removed"],
];

test("a store that is killed at any step costs nobody an error or a byte, and comes back (D10)", async (t) => {
  const cluster = await TestCluster.start(t, FAST);
  const { data, listen } = await cluster.member("store1");
  const { meta } = await cluster.file();
  const bin = join(packageRoot, "dist/daemon/cli/bin.js");
  const args = ["store", "--data", data, "--meta", meta, "--listen", listen, "--key", cluster.keyFile, ...FAST];
  const start = (dieAt: string) => {
    const env = { ...process.env, ...mortally(dieAt) };
    const child = spawn(process.execPath, [bin, ...args, "--zone", "store1"], { env, stdio: "ignore" });
    t.teardown(() => child.kill("SIGKILL"));
    return child;
  };
  const manifest = new Manifest();
  for (let i = 0; i < 10; i++) await manifest.write(cluster.mnt, 100_000);
  await cluster.kill("store1");
  const files = () => sh(`find ${data} -name '*.chunk*' -not -path '*/tmp/*' | wc -l`);
  for (const dieAt of STARTING) {
    const before = await files();
    t.same(await once(start(dieAt), "exit"), [null, "SIGKILL"], dieAt);
    t.equal(await files(), before, "its start removes nothing");
  }
  for (const dieAt of WORKING) {
    const store = start(dieAt);
    const ended = once(store, "exit");
    while (store.exitCode === null && store.signalCode === null) {
      await manifest.write(cluster.mnt, 100_000);
      await manifest.shrink(cluster.mnt, 30);
    }
    t.same(await ended, [null, "SIGKILL"], dieAt);
  }
  await cluster.up();
  const status = async () =>
    JSON.parse((await bigfsd(["status", "--json", "--data", cluster.data])).stdout) as StatusReply;
  while ((await status()).underReplicated > 0);
  const second = await cluster.mountAgain("second", ["--no-short-circuit"]);
  t.same(await manifest.checkAll(second), []);
  t.ok(manifest.size >= 10);
  const { quarantine } = new Layout(data);
  t.same(
    (await readdir(quarantine)).filter((name) => !name.includes(".chunk.")),
    [],
  );
  t.same(await readdir(join(data, "tmp")), [], "what was half-written is gone, and was never acknowledged");
});
