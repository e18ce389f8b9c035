import { test } from "tap";
import { ClusterBench, stored } from "../../helpers/cluster-bench.js";
import { settle, until } from "../../helpers/fake-clock.js";

const outcome = (promise: Promise<void>) => {
  const state = { is: "waiting" };
  promise.then(
    () => (state.is = "done"),
    (error: { errno?: string }) => (state.is = error.errno ?? "broken"),
  );
  return state;
};

test("ensureSynced asks each node once, however many wait, and resolves when M have answered", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const [a, b] = [await bench.node("a"), await bench.node("b")];
  const first = await bench.session(77);
  const chunks = [first, first + 1];
  await a.register([stored(first, [a.id, b.id], { synced: [b.id] }), stored(first + 1, [a.id, b.id])]);
  const waits = [bench.cluster.ensureSynced(chunks), bench.cluster.ensureSynced(chunks)].map(outcome);
  await settle();
  t.same(a.pushed("sync"), [{ chunks }]);
  t.same(b.pushed("sync"), [{ chunks: [first + 1] }]);
  await b.synced([first + 1]);
  await a.synced([first]);
  t.same(waits, [{ is: "waiting" }, { is: "waiting" }]);
  await a.synced([first + 1]);
  await settle();
  t.same(waits, [{ is: "done" }, { is: "done" }]);
  t.equal(bench.clock.timers, 1, "no deadline is left behind, only the look for silent nodes");
});

test("ensureSynced resolves at once for what is synced, is garbage or is gone", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const [a, b] = [await bench.node("a"), await bench.node("b")];
  const first = await bench.session(77);
  await a.register([stored(first, [a.id, b.id], { synced: [a.id, b.id] })]);
  await bench.endSession(77);
  await a.register([stored(first + 1, [a.id, b.id])]);
  await bench.cluster.ensureSynced([first, first + 1, first + 2]);
  await bench.cluster.ensureSynced([]);
  t.same(a.pushed("sync"), []);
});

test("ensureSynced asks a node again when it has come back, and gives up with EIO at the deadline", async (t) => {
  const bench = await ClusterBench.make({ deadlines: { ioDeadlineMs: 5000, nodeDownMs: 60_000 } });
  t.teardown(() => bench.stop());
  const [a, b] = [await bench.node("a"), await bench.node("b")];
  const first = await bench.session(77);
  await a.register([stored(first, [a.id, b.id], { synced: [a.id] }), stored(first + 1, [a.id, b.id])]);
  await b.close();
  const back = outcome(bench.cluster.ensureSynced([first]));
  const never = outcome(bench.cluster.ensureSynced([first + 1]));
  await bench.clock.advance(3000);
  t.equal(back.is, "waiting");
  const again = bench.connect("b");
  await again.join("none");
  await settle();
  t.same(again.pushed("sync"), [{ chunks: [first, first + 1] }]);
  await again.synced([first]);
  await settle();
  t.equal(back.is, "done");
  await bench.clock.advance(1999);
  t.equal(never.is, "waiting");
  await bench.clock.advance(1);
  t.equal(never.is, "EIO");
});

test("a copy that repair makes lets ensureSynced go on", async (t) => {
  const bench = await ClusterBench.make({ deadlines: { confirmMs: 1000 } });
  t.teardown(() => bench.stop());
  const [a, b, c] = [await bench.node("a"), await bench.node("b"), await bench.node("c")];
  bench.cluster.start();
  const chunk = await bench.session(77);
  await a.register([stored(chunk, [a.id, b.id], { synced: [a.id] })]);
  const wait = outcome(bench.cluster.ensureSynced([chunk]));
  await b.failed([chunk], true);
  await until(() => c.pushed("replicate").length > 0);
  t.match(c.pushed("replicate"), [{ chunk }]);
  await c.confirm([stored(chunk, [c.id], { synced: [c.id] })]);
  await settle();
  t.equal(wait.is, "done");
});

test("chunkAvailable waits for M copies on live nodes: registered, confirmed, come back", async (t) => {
  const bench = await ClusterBench.make({ replicas: 3, minReplicas: 2, deadlines: { nodeDownMs: 1000 } });
  t.teardown(() => bench.stop());
  const [a, b, c] = [await bench.node("a"), await bench.node("b"), await bench.node("c")];
  const first = await bench.session(77);
  const registered = outcome(bench.cluster.chunkAvailable([first]));
  await settle();
  t.equal(registered.is, "waiting");
  await a.register([stored(first, [a.id], { pending: [b.id, c.id] })]);
  await settle();
  t.equal(registered.is, "waiting");
  await c.confirm([stored(first, [c.id])]);
  await settle();
  t.equal(registered.is, "done");

  await c.ask({ $case: "leave", value: {} });
  const back = outcome(bench.cluster.chunkAvailable([first]));
  await settle();
  t.equal(back.is, "waiting", "a copy on a node that is DOWN does not count");
  const again = bench.connect("c");
  await again.join("none");
  await settle();
  t.equal(back.is, "done");
});

test("chunkAvailable gives up at the deadline, and when the daemon stops", async (t) => {
  const bench = await ClusterBench.make({ deadlines: { ioDeadlineMs: 2000 } });
  const chunk = await bench.session(77);
  const late = outcome(bench.cluster.chunkAvailable([chunk]));
  await bench.clock.advance(2000);
  t.equal(late.is, "EIO");
  const stopped = outcome(bench.cluster.chunkAvailable([chunk]));
  await settle();
  await bench.stop();
  t.equal(stopped.is, "EIO");
  await t.rejects(bench.cluster.chunkAvailable([chunk]), /stops/);
});

test("a chunk that somebody waits for is repaired", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const [a, b, c] = [await bench.node("a"), await bench.node("b"), await bench.node("c")];
  bench.cluster.start();
  await settle();
  const chunk = await bench.session(77);
  await a.register([stored(chunk, [a.id, b.id])]);
  await b.ask({ $case: "leave", value: {} });
  const wait = outcome(bench.cluster.chunkAvailable([chunk]));
  await until(() => c.pushed("replicate").length > 0);
  t.match(c.pushed("replicate"), [{ chunk, from: [{ node: a.id }] }]);
  await c.confirm([stored(chunk, [c.id], { synced: [c.id] })]);
  await settle();
  t.equal(wait.is, "done");
});
