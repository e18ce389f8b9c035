import { readFile, readdir, truncate, unlink, writeFile } from "node:fs/promises";
import { test } from "tap";
import { FakeMeta } from "./fake-meta.js";
import { Client, dataOf, startNodes } from "./lab.js";

test("a flipped bit is EBADMSG for the reader; the copy goes to quarantine and counts no more (D19)", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a] = await startNodes(t, meta, 1);
  const client = new Client(t);
  await client.put(a!, 5, dataOf(5, 200_000));
  const path = a!.layout.pathOf(5);
  const file = await readFile(path);
  file[file.length - 1000] = (file[file.length - 1000] ?? 0) ^ 16;
  await writeFile(path, file);
  t.same(await client.get(a!, 5, 0, 100), dataOf(5, 200_000).subarray(0, 100));
  await t.rejects(client.get(a!, 5), { message: /^EBADMSG/ });
  await meta.until(() => meta.all("failed").length > 0);
  t.same(meta.all("failed"), [{ chunks: [5], lost: true, errno: "EBADMSG" }]);
  t.equal((await readdir(a!.layout.quarantine)).length, 1);
  await t.rejects(client.get(a!, 5), { message: /^ENOENT/ });
});

test("a chunk file of 0 bytes, or one that is gone, is told as lost (D33)", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a] = await startNodes(t, meta, 1);
  const client = new Client(t);
  for (const chunk of [5, 6]) await client.put(a!, chunk, dataOf(chunk, 1000));
  await truncate(a!.layout.pathOf(5), 0);
  await t.rejects(client.verify(a!, 5), { message: /^EBADMSG/ });
  await unlink(a!.layout.pathOf(6));
  await t.rejects(client.get(a!, 6), { message: /^ENOENT/ });
  await meta.until(() => meta.all("failed").length === 2);
  t.same(meta.all("failed"), [
    { chunks: [5], lost: true, errno: "EBADMSG" },
    { chunks: [6], lost: true, errno: "ENOENT" },
  ]);
});

test("many readers and writers at once get their own bytes", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a, b] = await startNodes(t, meta, 2);
  const clients = [new Client(t), new Client(t), new Client(t)];
  const work = Array.from({ length: 90 }, async (_, n) => {
    const client = clients[n % 3]!;
    const [primary, other] = n % 2 === 0 ? [a!, b!] : [b!, a!];
    const data = dataOf(n, 100_000 + n * 1000);
    await client.put(primary, n, data, { forward: [other.target], minCopies: 2 });
    const back = await Promise.all([client.get(primary, n), client.get(other, n, 65_000, 3000)]);
    t.ok(back[0].equals(data) && back[1].equals(data.subarray(65_000, 68_000)), `chunk ${n}`);
  });
  await Promise.all(work);
  t.equal(meta.chunks("register").length, 90);
  t.ok(meta.all("register").length < 90, "registrations travel together under load");
});
