import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { explainFile, fetchStatus } from "../../../daemon/cli/admin/ask.js";
import { StartupError } from "../../../daemon/common/running.js";
import { Layout } from "../../../daemon/common/chunks/layout.js";
import { nodeDisk, type Disk } from "../../../daemon/store/disk.js";
import { settle } from "../../helpers/fake-clock.js";
import { pattern } from "../../unit/mount/vfs/lab.js";
import { KEY, Lab, readFile, writeFile } from "../client/lab.js";

const statusOf = (lab: Lab) => fetchStatus({ meta: lab.meta.listen, key: KEY });

/** The node of that folder, by the name that its daemon gives it. */
async function nodeOf(lab: Lab, folder: string) {
  const found = (await statusOf(lab)).nodes.find(({ name }) => name.endsWith(folder));
  if (found === undefined) throw new Error(`no node of ${folder}`);
  return found;
}

/** How many chunk files a folder has. */
async function chunksIn(folder: string): Promise<number> {
  return (await readdir(new Layout(folder).chunks, { recursive: true })).filter((name) => name.endsWith(".chunk"))
    .length;
}

test("each folder is a node of its own, and two copies never lie in one daemon while there is another", async (t) => {
  const lab = await Lab.start(t, { stores: 1 });
  const folders = ["a", "b"].map((name) => join(lab.dir, name));
  const several = await lab.startStore(9, "127.0.0.1:0", { data: folders, name: "many" });
  const nodes = await Promise.all(folders.map((folder) => nodeOf(lab, folder)));
  t.not(nodes[0]?.id, nodes[1]?.id);
  t.match(nodes, [
    { name: `many:${folders[0]}`, address: several.listen },
    { zone: "zone9", address: several.listen },
  ]);
  const client = await lab.client();
  const data = pattern(6_000_000, 3);
  const ino = await writeFile(client, "f", data);
  const { chunks } = await explainFile({ meta: lab.meta.listen, key: KEY }, ino);
  const own = new Set(nodes.map(({ id }) => id));
  for (const chunk of chunks) t.equal(chunk.replicas.filter(({ node }) => own.has(node)).length, 1);
  for (const folder of folders) t.ok((await chunksIn(folder)) > 0, "both are used");
  const reader = await client.again();
  t.ok((await readFile(reader, "f")).equals(data));
  // With the other daemon gone the bytes come from whichever of the two has them.
  await lab.stores[0]?.stop();
  const lonely = await client.again();
  t.ok((await readFile(lonely, "f")).equals(data));
});

test("one failing disk does not stop the others of its daemon", async (t) => {
  const lab = await Lab.start(t, { stores: 2, deadlines: { confirmMs: 2_000 } });
  const [good = "", bad = ""] = ["good", "bad"].map((name) => join(lab.dir, name));
  let isFlaky = false;
  const disk: Disk = {
    ...nodeDisk,
    create: async (path, parts) => {
      if (isFlaky && path.startsWith(bad)) throw Object.assign(new Error("EIO"), { code: "EIO" });
      return nodeDisk.create(path, parts);
    },
  };
  await lab.startStore(9, "127.0.0.1:0", { data: [good, bad], disk });
  const client = await lab.client();
  isFlaky = true;
  for (let i = 0; (await nodeOf(lab, bad)).failing === undefined; i++) {
    await writeFile(client, `f${i}`, pattern(600_000, i));
  }
  t.match(await nodeOf(lab, bad), { state: "DRAINING" });
  t.match(await nodeOf(lab, good), { state: "UP" });
  const before = await chunksIn(good);
  while ((await chunksIn(good)) === before) await writeFile(client, `g${before}-${Math.random()}`, pattern(600_000, 1));
});

test("an empty folder where a node was makes only that folder refuse, until its disk is back (D12)", async (t) => {
  const lab = await Lab.start(t, { stores: 2, deadlines: { confirmMs: 2_000, nodeDownMs: 500, heartbeatMs: 200 } });
  const folders = ["a", "b"].map((name) => join(lab.dir, name));
  const [a = "", b = ""] = folders;
  const first = await lab.startStore(9, "127.0.0.1:0", { data: folders });
  const client = await lab.client();
  const data = pattern(4_000_000, 3);
  await writeFile(client, "f", data);
  const was = await nodeOf(lab, b);
  await first.stop();
  await rename(b, `${b}.unmounted`);
  await mkdir(b);
  const second = await lab.startStore(9, first.listen, { data: folders });
  t.match(await nodeOf(lab, a), { state: "UP" });
  while ((await nodeOf(lab, b)).state !== "DOWN") await settle();
  t.equal((await statusOf(lab)).nodes.length, 4, "no new node");
  t.equal(await chunksIn(b).catch(() => 0), 0);
  while ((await statusOf(lab)).underReplicated > 0) await settle();
  await second.stop();
  await rm(b, { recursive: true });
  await rename(`${b}.unmounted`, b);
  await lab.startStore(9, first.listen, { data: folders });
  t.match(await nodeOf(lab, b), { state: "UP", id: was.id });
  const reader = await client.again();
  t.ok((await readFile(reader, "f")).equals(data));
});

test("a daemon whose only folder has lost its disk does not start; one whose disk was replaced does (D12)", async (t) => {
  const lab = await Lab.start(t, { stores: 2 });
  const [first] = lab.stores;
  await first?.stop();
  await rm(join(lab.dir, "store0"), { recursive: true });
  const listen = first?.listen ?? "";
  const refused: unknown = await lab.startStore(0, listen).catch((error: unknown) => error);
  t.type(refused, StartupError);
  t.match(refused, {
    message: /store0 is where node 1 .* was, and its identity.json/,
    hint: /mount the disk .*--replaced/,
  });
  await t.rejects(lab.startStore(0, listen), StartupError, "nor when it is tried again");
  await lab.startStore(0, listen, { replaced: true });
  t.equal((await statusOf(lab)).nodes.filter(({ state }) => state === "UP").length, 2);
});
