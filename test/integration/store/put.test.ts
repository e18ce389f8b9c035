import { test } from "tap";
import { FakeMeta } from "./fake-meta.js";
import { Client, dataOf, startNodes } from "./lab.js";

test("a chunk goes to all nodes that shall hold it, is registered by the one that got it, and can be read from each", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a, b, c] = await startNodes(t, meta, 3);
  const client = new Client(t);
  const data = dataOf(10, 1024 * 1024);
  const forward = [b!.target, c!.target];
  const reply = await client.put(a!, 10, data, { forward, minCopies: 3 });
  t.same(reply.nodes.sort(), [a!.id, b!.id, c!.id].sort());
  const [registered] = meta.chunks("register");
  t.equal(meta.chunks("register", a!.id).length, 1);
  t.match(registered, { chunk: 10, len: data.length, synced: [], pending: [] });
  t.equal(registered?.nodes[0], a!.id, "the sender first");
  t.same([...(registered?.nodes ?? [])].sort(), reply.nodes);
  for (const node of [a, b, c]) {
    t.ok((await client.get(node!, 10)).equals(data));
    t.same(await client.get(node!, 10, 70_000, 5), data.subarray(70_000, 70_005));
    t.match(await client.verify(node!, 10), { len: data.length, crc: registered?.crc });
  }
  await meta.until(() => meta.chunks("confirm", b!.id).length + meta.chunks("confirm", c!.id).length === 2);
});

test("nobody is told of a chunk as stored before the metadata daemon has it on record", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a, b] = await startNodes(t, meta, 2);
  const client = new Client(t);
  meta.verdict = ({ $case }) => ($case === "register" ? "later" : "");
  let isDone = false;
  const put = client.put(a!, 1, dataOf(1, 1000), { forward: [b!.target], minCopies: 2 }).then((reply) => {
    isDone = true;
    return reply;
  });
  await meta.until(() => meta.chunks("register").length === 1);
  t.ok((await client.get(a!, 1)).length === 1000, "the stream goes on meanwhile");
  t.equal(isDone, false);
  meta.answer();
  t.same((await put).nodes, [a!.id, b!.id]);
});

test("a refused registration is the error of the put that caused it, not of those that were registered with it", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a] = await startNodes(t, meta, 1);
  const client = new Client(t);
  meta.verdict = (op) => {
    if (op.$case !== "register") return "";
    return op.value.chunks.some(({ chunk }) => chunk === 3) ? "ESTALE" : "";
  };
  const puts = [1, 2, 3, 4].map((chunk) => client.put(a!, chunk, dataOf(chunk, 10_000)));
  const results = await Promise.allSettled(puts);
  t.same(
    results.map(({ status }) => status),
    ["fulfilled", "fulfilled", "rejected", "fulfilled"],
  );
  t.match(results[2], { reason: { errno: "ESTALE" } });
});

test("with M below R the put is done when M stand; the late copy is recorded as pending and confirms itself", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a, b] = await startNodes(t, meta, 2);
  const slow = { node: 77, address: "127.0.0.1:1" };
  const client = new Client(t);
  const reply = await client.put(a!, 1, dataOf(1, 300_000), { forward: [slow, b!.target], minCopies: 1 });
  t.ok(reply.nodes.includes(a!.id));
  await meta.until(() => meta.chunks("confirm", b!.id).some(({ chunk }) => chunk === 1));
  t.match(meta.chunks("confirm", b!.id), [{ chunk: 1, nodes: [b!.id], synced: [] }]);
});

test("a node that cannot be reached costs the put when its copy is needed, and the reply says which ones stand", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a, b, c] = await startNodes(t, meta, 3);
  await b!.running.stop();
  const client = new Client(t);
  const data = dataOf(1, 5000);
  await t.rejects(client.put(a!, 1, data, { forward: [b!.target], minCopies: 2 }), { message: /^EIO/ });
  t.same(meta.chunks("register"), [], "what does not stand is not registered");
  t.same(await client.get(a!, 1), data, "what was stored stays: only metadata knows when it may go");
  await meta.until(() => meta.chunks("confirm", a!.id).some(({ chunk }) => chunk === 1)); // and that it is there
  const reply = await client.put(a!, 2, data, { forward: [b!.target, c!.target], minCopies: 2 });
  t.same(reply.nodes, [a!.id, c!.id]);
});

test("a copy does not count for a node whose address another one has, not even the primary itself", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a, b] = await startNodes(t, meta, 2);
  const client = new Client(t);
  for (const [chunk, there] of [a!, b!].entries()) {
    const other = { node: 77, address: there.target.address };
    await t.rejects(client.put(a!, chunk + 1, dataOf(chunk, 1000), { forward: [other], minCopies: 2 }), {
      message: /^EIO.*node 77 is not here/,
    });
  }
  t.same(meta.chunks("register"), []);
});

test("synced puts are registered as synced on every node that took part", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a, b] = await startNodes(t, meta, 2);
  const reply = await new Client(t).put(a!, 1, dataOf(1, 100), { forward: [b!.target], minCopies: 2, sync: true });
  t.match(meta.chunks("register"), [{ synced: reply.nodes }]);
  await meta.until(() => meta.chunks("confirm", b!.id).length === 1);
  t.match(meta.chunks("confirm", b!.id), [{ synced: [b!.id] }]);
});

test("what is not right is refused: bad checksum, other bytes for a known id, too large, more copies than nodes", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a] = await startNodes(t, meta, 1);
  const client = new Client(t);
  await t.rejects(client.put(a!, 1, dataOf(1, 100), { crc: 1 }), { message: /^EBADMSG/ });
  await client.put(a!, 1, dataOf(1, 100));
  await client.put(a!, 1, dataOf(1, 100));
  await t.rejects(client.put(a!, 1, dataOf(2, 100)), { message: /^EEXIST/ });
  await t.rejects(client.put(a!, 2, Buffer.alloc(1024 * 1024 + 1)), { message: /^EINVAL/ });
  await t.rejects(client.put(a!, 2, dataOf(2, 100), { minCopies: 2 }), { message: /^EINVAL/ });
  await t.rejects(client.get(a!, 2), { message: /^ENOENT/ });
});

test("a full node says ENOSPC without having others store in vain; one that all others fill is EIO", async (t) => {
  const meta = await FakeMeta.start(t);
  const [small] = await startNodes(t, meta, 1, { capacity: 100_000 });
  const [big] = await startNodes(t, meta, 1);
  const client = new Client(t);
  const data = dataOf(1, 200_000);
  await t.rejects(client.put(small!, 1, data, { forward: [big!.target], minCopies: 2 }), { message: /^ENOSPC/ });
  await t.rejects(client.get(big!, 1), { message: /^ENOENT/ });
  await t.rejects(client.put(big!, 2, data, { forward: [small!.target], minCopies: 2 }), { message: /^ENOSPC/ });
  const gone = { node: 77, address: "127.0.0.1:1" };
  await t.rejects(client.put(big!, 3, data, { forward: [small!.target, gone], minCopies: 3 }), { message: /^EIO/ });
});

test("a put that waits for the metadata daemon is registered when that is back", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a, b] = await startNodes(t, meta, 2);
  const client = new Client(t);
  await meta.stop();
  const put = client.put(a!, 1, dataOf(1, 100), { forward: [b!.target], minCopies: 2 });
  while ((await client.get(b!, 1).catch(() => Buffer.alloc(0))).length === 0);
  await meta.listen();
  t.same((await put).nodes, [a!.id, b!.id]);
});

test("a report whose answer was lost with the stream is said again, before anything new", async (t) => {
  const meta = await FakeMeta.start(t);
  const [a] = await startNodes(t, meta, 1);
  const client = new Client(t);
  meta.verdict = ({ $case }) => ($case === "register" ? "later" : "");
  const put = client.put(a!, 1, dataOf(1, 100));
  await meta.until(() => meta.chunks("register").length === 1);
  meta.verdict = () => "";
  const before = meta.heard.length;
  meta.cut(a!.id);
  await put;
  const after = meta.heard.slice(before).map(({ op }) => op.$case);
  t.same(after.slice(0, 2), ["join", "register"]);
  t.match(meta.all("join").at(-1), { volume: meta.all("register").length > 0 ? /./ : "", node: a!.id });
});
