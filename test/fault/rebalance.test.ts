import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { SCHEMAS } from "../../daemon/cli/schemas.js";
import { ChunkCopies } from "../helpers/chunk-copies.js";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { Manifest } from "../helpers/manifest.js";
import { mortally } from "../helpers/mortal.js";
import { packageRoot } from "../helpers/package-root.js";
import { shortDeadlines } from "../helpers/short-deadlines.js";

const FAST = shortDeadlines({ confirmMs: 1_500 });
/** Each is one chunk; so many that rebalancing has to move some. */
const FILES = 100;
const SIZE = 60_000;

test("copies that rot or disappear while rebalance copies them never cost the last good one (D11)", async (t) => {
  const cluster = await TestCluster.start(t, ["--storage", "3", "--chunk-size", "64KiB", ...FAST]);
  const copies = new ChunkCopies(cluster);
  const does = async (...args: string[]) => {
    const { code, stderr } = await bigfsd([...args, "--data", cluster.data]);
    if (code !== 0) throw new Error(`${args.join(" ")}: ${stderr}`);
  };
  const status = async () =>
    SCHEMAS.status.parse(JSON.parse((await bigfsd(["status", "--json", "--data", cluster.data])).stdout));
  const copiesOf = async (name: string) => (await status()).nodes.find((node) => node.name === name)?.copies ?? 0;
  const isAtRest = async () => {
    const { underReplicated, pending, surplus = 0 } = await status();
    return underReplicated + pending + surplus === 0;
  };
  const manifest = new Manifest();
  for (let i = 0; i < FILES; i++) await manifest.write(cluster.mnt, SIZE);
  await does("node", "drain", "store3");
  while ((await copiesOf("store3")) > 0);
  await does("config", "set", "rebalance", "off");
  await does("node", "drain", "store3", "--cancel");
  while (!(await isAtRest()));
  t.same(await copies.wrong(), []);
  await cluster.kill("store3");

  // Of each chunk one of its two copies is good.
  await Promise.all([
    copies.flip(
      "store1",
      (await copies.paths("store1")).filter((path) => kindOf(path) === "rots on store1"),
    ),
    copies.flip(
      "store2",
      (await copies.paths("store2")).filter((path) => kindOf(path) === "rots on store2"),
    ),
    ...(await copies.paths("store2")).filter((path) => kindOf(path) === "disappears").map((path) => rm(path)),
  ]);

  // The first copies that the third node has made rot, too, before anybody has asked how they are.
  const { data, listen } = await cluster.member("store3");
  const bin = join(packageRoot, "dist/daemon/cli/bin.js");
  const { meta } = await cluster.file();
  const where = ["--data", data, "--meta", meta, "--listen", listen, "--key", cluster.keyFile];
  const dying = spawn(process.execPath, [bin, "store", ...where, "--zone", "store3", "--name", "store3", ...FAST], {
    env: { ...process.env, ...mortally("after report confirm") },
    stdio: "ignore",
  });
  t.teardown(() => dying.kill("SIGKILL"));
  const dead = once(dying, "exit");
  await does("config", "set", "rebalance", "on");
  t.same(await dead, [null, "SIGKILL"]);
  t.ok((await copies.flip("store3")).length > 0);
  await cluster.up();

  while ((await copiesOf("store3")) < FILES / 4);
  await does("config", "set", "rebalance", "off");
  while (!(await isAtRest()));
  const standing = await copies.all();
  const moved = new Set(standing.filter(({ store }) => store === "store3").map(({ chunk }) => chunk));
  const bad = [...moved].filter((chunk) => {
    const of = standing.filter((copy) => copy.chunk === chunk);
    return of.length !== 2 || of.some(({ isRight }) => !isRight);
  });
  t.same(bad, [], "what was moved stands twice, and no rotten copy was kept for a good one");
  const fresh = await cluster.mountAgain("fresh", ["--no-short-circuit"]);
  t.same(await manifest.checkAll(fresh), []);
  t.equal(manifest.size, FILES);
});

/** What happens to a chunk, by its number. */
function kindOf(path: string): "rots on store1" | "rots on store2" | "disappears" {
  const last = parseInt(path.slice(-"0.chunk".length, -".chunk".length), 16);
  if (last % 3 === 2) return "disappears";
  return last % 3 === 0 ? "rots on store1" : "rots on store2";
}
