import { open, readFile, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { test } from "tap";
import { decodeFile } from "../../daemon/common/chunks/chunk-format.js";
import { Layout, idOfName } from "../../daemon/common/chunks/layout.js";
import type { StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { sh } from "../helpers/run.js";

async function chunkFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  return names.filter((name) => name.endsWith(".chunk")).map((name) => join(folder, name));
}

/** Flips one bit of the chunk's data. */
async function flip(path: string): Promise<void> {
  const file = await open(path, "r+");
  const { size } = await file.stat();
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 100);
  await file.write(Buffer.from([(buffer[0] ?? 0) ^ 4]), 0, 1, size - 100);
  await file.close();
}

test("scrubbing finds flipped bits that nobody has read, and the copies are made anew from good ones (D19)", async (t) => {
  const cluster = await TestCluster.start(t, ["--deadline", "heartbeatMs=200", "--deadline", "confirmMs=2000"]);
  await sh("head -c 24M /dev/urandom > f; sha256sum f > sum; sync f", { cwd: cluster.mnt });
  const { data } = await cluster.member("store1");
  const bad = await chunkFiles(new Layout(data).chunks);
  t.ok(bad.length >= 2, `${bad.length} chunks`);
  for (const path of bad) await flip(path);
  const { quarantine } = new Layout(data);
  t.same(await readdir(quarantine), []);
  const asked = await bigfsd(["node", "scrub", "store1", "--data", cluster.data, "--json"]);
  t.equal(asked.code, 0, asked.stderr);
  t.match(JSON.parse(asked.stdout), { name: "store1" });
  while ((await readdir(quarantine)).length < bad.length) await new Promise((resolve) => setImmediate(resolve));
  const status = async () =>
    JSON.parse((await bigfsd(["status", "--json", "--data", cluster.data])).stdout) as StatusReply;
  const nodes = ["store1", "store2", "store3"];
  const goodCopies = async () => {
    const copies = new Map<string, number>();
    for (const name of nodes) {
      for (const path of await chunkFiles(new Layout((await cluster.member(name)).data).chunks)) {
        decodeFile(idOfName(basename(path)) ?? 0, await readFile(path));
        copies.set(basename(path), (copies.get(basename(path)) ?? 0) + 1);
      }
    }
    return copies;
  };
  const isMended = async () => {
    const copies = await goodCopies();
    return bad.every((path) => copies.get(basename(path)) === 2);
  };
  while (!(await isMended()));
  while ((await status()).underReplicated > 0);
  await sh("sync; echo 3 > /proc/sys/vm/drop_caches");
  await sh("sha256sum -c sum", { cwd: cluster.mnt });
  const text = (await bigfsd(["status", "--data", cluster.data])).stdout;
  t.match(text, /^longest not scrubbed +a chunk of store\d, read \d+ s ago$/m);
  t.match(await bigfsd(["node", "scrub", "store9", "--data", cluster.data]), { code: 1, stderr: /no node 'store9'/ });
  await cluster.kill("store2");
  const isAway = async () => (await bigfsd(["node", "scrub", "store2", "--data", cluster.data])).code === 1;
  while (!(await isAway()));
});
