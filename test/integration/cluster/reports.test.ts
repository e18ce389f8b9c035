import { test } from "tap";
import { key } from "../../../daemon/meta/keys.js";
import { ClusterBench, CommitGate, stored } from "../../helpers/cluster-bench.js";
import { settle } from "../../helpers/fake-clock.js";

test("a registration is answered when it is durable, and names the copies", async (t) => {
  const commits = new CommitGate();
  const bench = await ClusterBench.make({ store: commits });
  t.teardown(() => bench.stop());
  const [a, b] = [await bench.node("a"), await bench.node("b")];
  const chunk = await bench.session(77);
  await bench.executor.drained();
  commits.shut();
  let isAnswered = false;
  const answer = a.register([stored(chunk, [a.id, b.id], { synced: [b.id] })]).finally(() => (isAnswered = true));
  await settle(20);
  t.notOk(isAnswered, "not before the commit");
  commits.open();
  t.equal((await answer).errno, "");
  t.same(await bench.copies(chunk), [`${a.id}:A`, `${b.id}:S`]);
  t.match(await bench.chunk(chunk), { session: 77, refs: 0, garbage: false });
});

test("a node speaks for itself only: it cannot register what it does not hold, nor confirm for others", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const [a, b, c] = [await bench.node("a"), await bench.node("b"), await bench.node("c")];
  const chunk = await bench.session(77);
  t.equal((await a.register([stored(chunk, [b.id])])).errno, "EINVAL");
  t.equal((await a.register([stored(chunk, [a.id, 999])])).errno, "EINVAL");
  t.equal(await bench.chunk(chunk), undefined);
  await a.register([stored(chunk, [a.id, b.id])]);
  await c.confirm([stored(chunk, [a.id, b.id, c.id], { synced: [a.id, b.id] })]);
  await c.synced([chunk]);
  t.same(await bench.copies(chunk), [`${a.id}:A`, `${b.id}:A`, `${c.id}:S`]);
});

test("one chunk that is refused does not hold up the others of its registration", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const [a, b] = [await bench.node("a"), await bench.node("b")];
  const chunk = await bench.session(77);
  await a.register([stored(chunk, [a.id, b.id])]);
  const reply = await a.register([stored(chunk, [a.id, b.id], { crc: 1 }), stored(chunk + 1, [a.id, b.id])]);
  t.equal(reply.errno, "EIO", "other bytes under a known id");
  t.match(await bench.chunk(chunk), { crc: stored(chunk, []).crc });
  t.same(await bench.copies(chunk + 1), [`${a.id}:A`, `${b.id}:A`]);
});

test("a later copy may confirm before its primary registers", async (t) => {
  const bench = await ClusterBench.make({ replicas: 3, minReplicas: 2 });
  t.teardown(() => bench.stop());
  const [a, b, c] = [await bench.node("a"), await bench.node("b"), await bench.node("c")];
  const chunk = await bench.session(77);
  t.equal((await c.confirm([stored(chunk, [c.id], { synced: [c.id] })])).errno, "");
  t.equal((await b.synced([chunk])).errno, "");
  t.equal(await bench.chunk(chunk), undefined, "a node alone registers nothing");
  await a.register([stored(chunk, [a.id, b.id], { pending: [c.id] })]);
  t.same(await bench.copies(chunk), [`${a.id}:A`, `${b.id}:S`, `${c.id}:S`]);
  t.equal(bench.cluster.status().pending, 0);
});

test("an early word does not outlive the stream that brought it", async (t) => {
  const bench = await ClusterBench.make({ replicas: 3, minReplicas: 2 });
  t.teardown(() => bench.stop());
  const [a, b, c] = [await bench.node("a"), await bench.node("b"), await bench.node("c")];
  const chunk = await bench.session(77);
  await c.confirm([stored(chunk, [c.id])]);
  await c.close();
  await a.register([stored(chunk, [a.id, b.id], { pending: [c.id] })]);
  t.same(await bench.copies(chunk), [`${a.id}:A`, `${b.id}:A`, `${c.id}:P`]);

  const back = await bench.node("c");
  await back.confirm([stored(chunk + 1, [c.id], { synced: [c.id] })]);
  await bench.node("c"); // back before the end of its stream was noticed, and with nothing on its disk
  await a.register([stored(chunk + 1, [a.id, b.id], { pending: [c.id] })]);
  t.same(await bench.copies(chunk + 1), [`${a.id}:A`, `${b.id}:A`, `${c.id}:P`]);
});

test("what is registered for a session that has ended is garbage at once", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const [a, b] = [await bench.node("a"), await bench.node("b")];
  const chunk = await bench.session(77);
  await bench.endSession(77);
  t.equal((await a.register([stored(chunk, [a.id, b.id])])).errno, "");
  t.match(await bench.chunk(chunk), { garbage: true });
  t.match(await bench.row(key.garbage(chunk)), { deleting: false });
});

test("an id that was never given out is refused and its copies go to quarantine", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const [a, b] = [await bench.node("a"), await bench.node("b")];
  const chunk = (await bench.session(77)) + 5000;
  t.equal((await a.register([stored(chunk, [a.id, b.id])])).errno, "ESTALE");
  await settle();
  t.same(a.pushed("quarantine"), [{ chunks: [chunk], why: "its id was never given out" }]);
  t.same(b.pushed("quarantine"), [{ chunks: [chunk], why: "its id was never given out" }]);
  t.equal(await bench.chunk(chunk), undefined);
  t.match(await bench.metrics(), /bigfs_cluster_quarantined_chunks_total 2/);
});

test("a lost copy is taken off the list; the row stays when it was the last", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const [a, b] = [await bench.node("a"), await bench.node("b")];
  const chunk = await bench.session(77);
  await a.register([stored(chunk, [a.id, b.id])]);
  await bench.refer(chunk);
  await a.failed([chunk], true, "EBADMSG");
  t.same(await bench.copies(chunk), [`${b.id}:A`]);
  await b.failed([chunk], true, "EIO");
  t.same(await bench.copies(chunk), []);
  t.match(await bench.chunk(chunk), { refs: 1, garbage: false });
  t.equal(bench.cluster.status().underReplicated, 1);
});

test("what an older stream of a node still says has no effect", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const [a, b] = [await bench.node("a"), await bench.node("b")];
  const chunk = await bench.session(77);
  await a.register([stored(chunk, [a.id, b.id])]);
  const newer = bench.connect("b");
  await newer.join("none");
  b.link.send({ id: 50, op: { $case: "failed", value: { chunks: [chunk], lost: true, errno: "EIO" } } });
  await settle(10);
  t.same(await bench.copies(chunk), [`${a.id}:A`, `${newer.id}:A`]);
});
