import { once } from "node:events";
import { cp, readdir, rm, truncate } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "tap";
import { StartupError } from "../../../daemon/common/running.js";
import { isLockName } from "../../../daemon/common/lock-file.js";
import { startStore } from "../../../daemon/store/daemon.js";
import { sendInventory } from "../../../daemon/store/inventory.js";
import { Layout } from "../../../daemon/common/chunks/layout.js";
import { FakeMeta, VOLUME } from "./fake-meta.js";
import { Client, dataOf, optionsFor, startNode, startNodes } from "./lab.js";

test("a node starts without a metadata daemon and joins it when it is there", async (t) => {
  const meta = await FakeMeta.start(t);
  await meta.stop();
  const node = await startStore(optionsFor(meta, join(t.testdir({}), "disk")));
  t.teardown(() => node.stop());
  await meta.listen();
  await meta.until(() => meta.all("inventory").length > 0);
  t.match(meta.all("join"), [{ volume: "", node: 0, address: node.listen, name: node.listen, used: 0 }]);
  t.match(meta.all("heartbeat")[0], { chunks: 0 });
  t.match(meta.all("inventory"), [{ chunks: [], last: true }]);
});

test("a node of another volume does not start, and leaves nothing running", async (t) => {
  const data = join(t.testdir({}), "disk");
  const meta = await FakeMeta.start(t);
  await (await startNode(t, meta, { data })).running.stop();
  const other = await FakeMeta.start(t, { volume: "4f1d7a52-5d0e-4a8e-b7ab-1f3f0b6b7a11" });
  await t.rejects(startStore(optionsFor(other, data)), StartupError);
  t.same((await readdir(data)).filter(isLockName), [], "the folder is free again");
  const again = await startNode(t, meta, { data });
  t.equal(again.id, 1);
});

test("a node that the metadata daemon refuses, or that has another key, does not start", async (t) => {
  const root = t.testdir({});
  const meta = await FakeMeta.start(t);
  meta.verdict = ({ $case }) => ($case === "join" ? "EINVAL" : "");
  await t.rejects(startStore(optionsFor(meta, join(root, "a"))), {
    name: "StartupError",
    message: /as the test wants/,
  });
  const key = Buffer.alloc(32, 8);
  const refused = startStore({ ...optionsFor(meta, join(root, "b")), key });
  await t.rejects(refused, { name: "StartupError", message: /refuses this node/ });
});

test("a port that is taken is one clear error, and the folder is free again", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a] = await startNodes(t, meta, 1);
  const data = join(t.testdir({}), "disk");
  await t.rejects(startStore({ ...optionsFor(meta, data), listen: a!.running.listen }), StartupError);
  t.same((await readdir(data)).filter(isLockName), []);
});

test("after a clean stop everything is reported as synced, without being read again", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a] = await startNodes(t, meta, 1);
  const client = new Client(t);
  for (const chunk of [3, 1, 2]) await client.put(a!, chunk, dataOf(chunk, 1000));
  await a!.running.stop();
  t.same(
    meta
      .all("synced")
      .flatMap(({ chunks }) => chunks)
      .sort(),
    [1, 2, 3],
  );
  await meta.until(() => meta.all("leave").length > 0);
  t.equal(meta.all("leave").length, 1);
  const before = meta.heard.length;
  await startNode(t, meta, { data: a!.data });
  t.match(meta.heard[before], { op: { value: { node: a!.id, used: 3 * 4096 } } });
  const [, listed] = meta.all("inventory");
  t.match(listed, {
    last: true,
    chunks: [1, 2, 3].map((chunk) => ({ chunk, nodes: [a!.id], synced: [a!.id], len: 1000 })),
  });
});

test("after an unclean stop only what was verified is reported, and what is bad is kept aside (D33)", async (t) => {
  const root = t.testdir({});
  const meta = await FakeMeta.start(t);
  const node = await startNode(t, meta, { data: join(root, "disk") });
  const client = new Client(t);
  for (const chunk of [1, 2, 3, 4]) await client.put(node, chunk, dataOf(chunk, 100_000));
  // What a power cut would leave: the folder as it is now, some files without their bytes.
  const crashed = join(root, "crashed");
  await cp(node.data, crashed, { recursive: true });
  await node.running.stop();
  const layout = new Layout(crashed);
  await truncate(layout.pathOf(2), 0);
  await truncate(layout.pathOf(3), 50_000);
  await t.rejects(startStore(optionsFor(meta, crashed)), StartupError, "its lock names a living process");
  for (const name of (await readdir(crashed)).filter(isLockName)) await rm(join(crashed, name));
  const before = meta.chunks("inventory").length;
  const back = await startNode(t, meta, { data: crashed });
  t.match(meta.chunks("inventory").slice(before), [
    { chunk: 1, synced: [] },
    { chunk: 4, synced: [] },
  ]);
  t.equal((await readdir(back.layout.quarantine)).length, 2);
  t.ok((await client.get(back, 4)).equals(dataOf(4, 100_000)));
});

test("metrics and health tell what a node holds and whether it is joined", async (t) => {
  const meta = await FakeMeta.start(t);
  // A port that is free now; nobody else here takes one by number.
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  const [a] = await startNodes(t, meta, 1, { http: `${port}` });
  await new Client(t).put(a!, 1, dataOf(1, 5000));
  const health = await fetch(`http://127.0.0.1:${port}/healthz`);
  t.equal(health.status, 200);
  t.match(await health.json(), { joined: true, volume: VOLUME, node: a!.id, chunks: 1, used: 8192 });
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  for (const line of [
    "bigfs_store_chunks 1",
    "bigfs_store_joined 1",
    'bigfs_store_operation_seconds_count{op="put"} 1',
  ]) {
    t.ok(metrics.includes(`${line}\n`), line);
  }
  await meta.stop();
  while ((await fetch(`http://127.0.0.1:${port}/healthz`)).status !== 503);
});

test("a stream that is lost is joined again with a full inventory, and reports go on", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a] = await startNodes(t, meta, 1);
  const client = new Client(t);
  await client.put(a!, 1, dataOf(1, 100));
  meta.cut(a!.id);
  await meta.until(() => meta.all("join").length === 2 && meta.all("inventory").length === 2);
  t.match(meta.all("join")[1], { node: a!.id });
  t.match(meta.all("inventory")[1], { chunks: [{ chunk: 1 }], last: true });
  await client.put(a!, 2, dataOf(2, 100));
  t.same(
    meta.chunks("register").map(({ chunk }) => chunk),
    [1, 2],
  );
});

test("an inventory comes in pages in order of the ids, each after the one before was answered", async (t) => {
  const meta = await FakeMeta.start(t);
  const ids = Float64Array.from({ length: 4001 }, (_, n) => n * 3);
  let open = 0;
  const pages: { chunks: { chunk: number }[]; last: boolean }[] = [];
  const say = async (op: { $case: string; value: unknown }): Promise<void> => {
    t.equal(open++, 0);
    await new Promise((resolve) => setImmediate(resolve));
    pages.push(op.value as (typeof pages)[0]);
    open--;
  };
  const held = (chunk: number) => (chunk === 3 ? [] : [{ chunk, len: 1, crc: 1, nodes: [1], synced: [], pending: [] }]);
  await sendInventory({ ids, held, say }, new AbortController().signal);
  t.same(
    pages.map(({ last }) => last),
    [false, false, true],
  );
  t.same(
    pages.flatMap(({ chunks }) => chunks.map(({ chunk }) => chunk)),
    [...ids].filter((id) => id !== 3),
  );
  await meta.stop();
});
