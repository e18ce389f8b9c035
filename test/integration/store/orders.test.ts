import { readFile, readdir, writeFile } from "node:fs/promises";
import { test } from "tap";
import { crc32 } from "node:zlib";
import { FakeMeta } from "./fake-meta.js";
import { Client, dataOf, startNodes, type Node } from "./lab.js";

async function damage(node: Node, chunk: number): Promise<void> {
  const path = node.layout.pathOf(chunk);
  const file = await readFile(path);
  file[file.length - 1] = (file[file.length - 1] ?? 0) ^ 1;
  await writeFile(path, file);
}

test("a node makes a copy from the first node that gives it whole, fsyncs it and confirms it", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a, b, c] = await startNodes(t, meta, 3);
  const client = new Client(t);
  const data = dataOf(9, 300_000);
  for (const node of [a!, b!]) await client.put(node, 9, data);
  await damage(a!, 9);
  const gone = { node: 50, address: "127.0.0.1:1" };
  const order = { chunk: 9, len: data.length, crc: crc32(data), from: [gone, a!.target, b!.target] };
  meta.push(c!.id, { $case: "replicate", value: order });
  await meta.until(() => meta.chunks("confirm", c!.id).length > 0);
  t.match(meta.chunks("confirm", c!.id), [{ chunk: 9, nodes: [c!.id], synced: [c!.id], crc: crc32(data) }]);
  t.ok((await client.get(c!, 9)).equals(data));
  await meta.until(() => meta.all("failed", a!.id).length > 0);
  t.match(meta.all("failed", a!.id), [{ chunks: [9], lost: true }], "the bad source is told, too");
  meta.push(c!.id, { $case: "replicate", value: order });
  await meta.until(() => meta.chunks("confirm", c!.id).length > 1);
});

test("a copy that nobody can give is told as failed, and leaves nothing behind", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a, b] = await startNodes(t, meta, 2);
  await new Client(t).put(a!, 9, dataOf(9, 1000));
  const wrong = { chunk: 9, len: 1000, crc: 1, from: [a!.target] };
  meta.push(b!.id, { $case: "replicate", value: wrong });
  await meta.until(() => meta.all("failed", b!.id).length === 1);
  meta.push(b!.id, { $case: "replicate", value: { chunk: 8, len: 1000, crc: 1, from: [a!.target] } });
  await meta.until(() => meta.all("failed", b!.id).length === 2);
  t.same(meta.all("failed", b!.id), [
    { chunks: [9], lost: false, errno: "EBADMSG" },
    { chunks: [8], lost: false, errno: "ENOENT" },
  ]);
  await t.rejects(new Client(t).get(b!, 9), { message: /^ENOENT/ });
});

test("chunks are fsynced on demand, and what is not here is told as lost", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a] = await startNodes(t, meta, 1);
  const client = new Client(t);
  for (const chunk of [1, 2]) await client.put(a!, chunk, dataOf(chunk, 1000));
  meta.push(a!.id, { $case: "sync", value: { chunks: [1, 7] } });
  await meta.until(() => meta.all("synced").length === 1 && meta.all("failed").length === 1);
  t.same(meta.all("synced"), [{ chunks: [1] }]);
  t.same(meta.all("failed"), [{ chunks: [7], lost: true, errno: "ENOENT" }]);
});

test("removed chunks are gone and give their space back; removing them again is removal, too", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a] = await startNodes(t, meta, 1, { capacity: 200_000 });
  const client = new Client(t);
  await client.put(a!, 1, dataOf(1, 150_000));
  await t.rejects(client.put(a!, 2, dataOf(2, 150_000)), { message: /^ENOSPC/ });
  meta.push(a!.id, { $case: "remove", value: { chunks: [1, 5] } });
  await meta.until(() => meta.all("removed").length === 1);
  t.same(meta.all("removed")[0]?.chunks.sort(), [1, 5]);
  await t.rejects(client.get(a!, 1), { message: /^ENOENT/ });
  await client.put(a!, 2, dataOf(2, 150_000));
});

test("what nobody can explain is moved to quarantine, not deleted", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a] = await startNodes(t, meta, 1);
  const client = new Client(t);
  await client.put(a!, 1, dataOf(1, 1000));
  const file = await readFile(a!.layout.pathOf(1));
  meta.push(a!.id, { $case: "quarantine", value: { chunks: [1, 2] } });
  await meta.until(() => meta.all("failed").length === 1);
  await t.rejects(client.get(a!, 1), { message: /^ENOENT/ });
  const [kept] = await readdir(a!.layout.quarantine);
  t.ok((await readFile(`${a!.layout.quarantine}/${kept}`)).equals(file));
});

test("a node that is asked to verify reads what it has, and names only what is whole and fsynced", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a] = await startNodes(t, meta, 1);
  const client = new Client(t);
  for (const chunk of [1, 2]) await client.put(a!, chunk, dataOf(chunk, 1000));
  await damage(a!, 2);
  meta.push(a!.id, { $case: "verify", value: { number: 5, chunks: [1, 2, 7] } });
  await meta.until(() => meta.all("verified").length === 1 && meta.all("failed").length === 2);
  t.match(meta.all("verified"), [{ number: 5, chunks: [{ chunk: 1, nodes: [a!.id], synced: [a!.id] }] }]);
  t.equal(meta.all("verified")[0]?.chunks.length, 1);
  const lost = meta.all("failed").flatMap((failed) => (failed.lost ? failed.chunks : []));
  t.same(lost.sort(), [2, 7]);
});
