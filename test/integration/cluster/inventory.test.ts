import { test, type Test } from "tap";
import { key } from "../../../daemon/meta/keys.js";
import { ClusterBench, stored } from "../../helpers/cluster-bench.js";
import { settle } from "../../helpers/fake-clock.js";
import type { ScriptedNode } from "../../helpers/scripted-node.js";

/** Two nodes with `count` chunks on both; then the second goes away and is back, its inventory not sent yet. */
async function returned(t: Test, count: number) {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const [a, gone] = [await bench.node("a"), await bench.node("b")];
  const first = await bench.session(77);
  const chunks = Array.from({ length: count }, (_, i) => first + 2 * i);
  await a.register(chunks.map((chunk) => stored(chunk, [a.id, gone.id])));
  for (const chunk of chunks) await bench.refer(chunk);
  await gone.close();
  const b = bench.connect("b");
  await b.join("none");
  const held = (ids: readonly number[]) => ids.map((chunk) => stored(chunk, [b.id]));
  return { bench, a, b, chunks, held, first };
}

const isListed = async (bench: ClusterBench, chunk: number, node: ScriptedNode) =>
  (await bench.copies(chunk)).some((copy) => copy.startsWith(`${node.id}:`));

test("copies that are missing count as lost only after the last page", async (t) => {
  const { bench, b, chunks, held } = await returned(t, 6);
  const [c0, c1, c2, c3, c4, c5] = chunks as [number, number, number, number, number, number];
  t.equal((await b.inventory(held([c1, c2]), false)).errno, "");
  for (const chunk of chunks) t.ok(await isListed(bench, chunk, b));
  t.equal((await b.inventory(held([c4]), true)).errno, "");
  for (const chunk of [c1, c2, c4]) t.ok(await isListed(bench, chunk, b));
  for (const chunk of [c0, c3, c5]) t.notOk(await isListed(bench, chunk, b), `${chunk} is lost`);
  t.equal(bench.cluster.status().underReplicated, 3);
});

test("D9: nothing counts as lost when the inventory breaks off, is out of order, or metadata cannot be read", async (t) => {
  await t.test("the stream ends", async (t) => {
    const { bench, b, chunks, held } = await returned(t, 4);
    await b.inventory(held([chunks[3] ?? 0]), false);
    await b.close();
    for (const chunk of chunks) t.ok(await isListed(bench, chunk, b));
  });
  await t.test("pages out of order", async (t) => {
    const { bench, b, chunks, held } = await returned(t, 4);
    await b.inventory(held([chunks[2] ?? 0]), false);
    t.equal((await b.inventory(held([chunks[1] ?? 0]), false)).errno, "EINVAL");
    await b.inventory(held([chunks[3] ?? 0]), true);
    for (const chunk of chunks) t.ok(await isListed(bench, chunk, b));
  });
  await t.test("a scan fails", async (t) => {
    let isBroken = false;
    const bench = await ClusterBench.make({
      store: {
        gate: (call) => {
          if (isBroken && call === "scan") throw new Error("disk");
        },
      },
    });
    t.teardown(() => bench.stop());
    const [a, gone] = [await bench.node("a"), await bench.node("b")];
    const chunk = await bench.session(77);
    await a.register([stored(chunk, [a.id, gone.id])]);
    await gone.close();
    const b = bench.connect("b");
    await b.join("none");
    isBroken = true;
    t.equal((await b.inventory([stored(chunk + 1, [b.id])], false)).errno, "EIO");
    isBroken = false;
    await b.inventory([], true);
    t.ok(await isListed(bench, chunk, b));
  });
});

test("what is registered or confirmed while the inventory runs is not judged by it", async (t) => {
  const { bench, a, b, chunks, held, first } = await returned(t, 2);
  const fresh = first + 100;
  await a.register([stored(fresh, [a.id, b.id])]);
  await b.inventory(held(chunks), true);
  t.ok(await isListed(bench, fresh, b), "the list is older than the registration");
  await settle();
  t.same(b.pushed("sync"), [{ chunks: [fresh] }], "but the copy may be older still, and gone: only the node knows");
});

test("a copy that was reported lost during the inventory is not brought back by it", async (t) => {
  const { bench, b, chunks, held } = await returned(t, 2);
  await b.failed([chunks[0] ?? 0], true);
  await b.inventory(held(chunks), true);
  t.notOk(await isListed(bench, chunks[0] ?? 0, b));
  t.ok(await isListed(bench, chunks[1] ?? 0, b));
});

test("a copy that was reported synced during the inventory is taken from it even so", async (t) => {
  const { bench, a, chunks } = await returned(t, 1);
  const chunk = chunks[0] ?? 0;
  const c = bench.connect("c");
  await c.join("none");
  await c.synced([chunk]);
  t.notOk(await isListed(bench, chunk, c), "nobody knew of it");
  await c.inventory([stored(chunk, [c.id], { synced: [c.id] })], true);
  t.ok(await isListed(bench, chunk, c));
  t.ok(await isListed(bench, chunk, a));
});

test("known chunks that were not listed are confirmed, synced ones as synced", async (t) => {
  const { bench, a, chunks, b } = await returned(t, 1);
  const c = bench.connect("c");
  await c.join("none");
  const chunk = chunks[0] ?? 0;
  await c.inventory([stored(chunk, [c.id], { synced: [c.id] })], true);
  t.same(await bench.copies(chunk), [`${a.id}:A`, `${b.id}:A`, `${c.id}:S`]);
});

test("a node need not wait for the answer to its join before it lists what it has", async (t) => {
  const { bench, a, chunks } = await returned(t, 1);
  const c = bench.connect("c");
  const joined = c.join("none");
  const chunk = chunks[0] ?? 0;
  const reply = await c.inventory([stored(chunk, [a.id + 2])], true);
  await joined;
  t.equal(reply.errno, "");
  t.ok(await isListed(bench, chunk, c));
});

test("a copy with other bytes is quarantined and not listed", async (t) => {
  const { bench, a, b, chunks } = await returned(t, 1);
  const chunk = chunks[0] ?? 0;
  await b.inventory([stored(chunk, [b.id], { crc: 99 })], true);
  await settle();
  t.same(b.pushed("quarantine"), [{ chunks: [chunk], why: "it is recorded with other bytes" }]);
  t.same(await bench.copies(chunk), [`${a.id}:A`]);
});

test("an unknown chunk of a session that lives is left alone until the session has ended", async (t) => {
  const { bench, b, chunks, held, first } = await returned(t, 1);
  const unknown = first + 500;
  await b.inventory(held([...chunks, unknown]), true);
  t.equal(await bench.chunk(unknown), undefined);
  await bench.cluster.tasks.cleaning.runOnce();
  t.equal(await bench.chunk(unknown), undefined);
  await bench.endSession(77);
  await bench.cluster.tasks.cleaning.runOnce();
  t.match(await bench.row(key.garbage(unknown)), { deleting: false }, "now there is evidence");
  t.same(b.pushed("remove"), []);
  t.same(b.pushed("quarantine"), []);
});

test("an unknown chunk that several nodes hold is removed from all of them when its session has ended", async (t) => {
  const { bench, a, b, chunks, held, first } = await returned(t, 1);
  const unknown = first + 500;
  await b.inventory(held([...chunks, unknown]), true);
  await a.confirm([stored(unknown, [a.id])]);
  await bench.endSession(77);
  await bench.cluster.tasks.cleaning.runOnce();
  t.same((await bench.copies(unknown)).sort(), [`${a.id}:A`, `${b.id}:A`]);
  t.match(await bench.row(key.garbage(unknown)), { deleting: false });
});

test("an unknown chunk of a session that has ended is garbage by a recorded decision", async (t) => {
  const { bench, b, chunks, held, first } = await returned(t, 1);
  await bench.endSession(77);
  const unknown = first + 500;
  await b.inventory(held([...chunks, unknown]), true);
  t.match(await bench.chunk(unknown), { refs: 0, garbage: true });
  t.same(await bench.copies(unknown), [`${b.id}:A`]);
  t.same(b.pushed("remove"), [], "not removed before it is old");
});

test("D34: chunks of another incarnation are quarantined, never deleted", async (t) => {
  const { bench, b, chunks, held, first } = await returned(t, 1);
  await bench.endSession(77);
  await bench.change(key.volume, (volume) => ({ ...volume, incarnation: volume.incarnation + 1 }));
  const unknown = first + 500;
  const neverGiven = first + 100_000;
  await b.inventory(held([...chunks, unknown, neverGiven]), true);
  await settle();
  t.same(
    b.pushed("quarantine").flatMap((push) => push.chunks),
    [unknown, neverGiven],
  );
  t.equal(await bench.chunk(unknown), undefined);
  t.ok(await isListed(bench, chunks[0] ?? 0, b), "what is listed stays");
  await bench.clock.advance(3_600_000);
  await bench.cluster.tasks.cleaning.runOnce();
  t.same(b.pushed("remove"), []);
});
