import { test, type Test } from "tap";
import { DEADLINES } from "../../../daemon/common/deadlines.js";
import { ClusterBench, CommitGate, stored, type BenchOptions } from "../../helpers/cluster-bench.js";
import { settle, until } from "../../helpers/fake-clock.js";
import type { ScriptedNode } from "../../helpers/scripted-node.js";

const FAST = { nodeDownMs: 1000, confirmMs: 1000, heartbeatMs: 500 };

/** Nodes a, b, c, ...; the volume is served. */
async function serving(t: Test, names: string, opts: BenchOptions = {}) {
  const bench = await ClusterBench.make({ ...opts, deadlines: { ...FAST, ...opts.deadlines } });
  t.teardown(() => bench.stop());
  const nodes: ScriptedNode[] = [];
  for (const name of names) nodes.push(await bench.node(name));
  bench.cluster.start();
  await settle();
  return { bench, nodes, first: await bench.session(77) };
}

/** Lets time pass while these nodes say every now and then that they are there. */
async function pass(bench: ClusterBench, ms: number, speaking: readonly ScriptedNode[]): Promise<void> {
  for (let left = ms; left > 0; left -= 250) {
    for (const node of speaking) void node.heartbeat();
    await bench.clock.advance(Math.min(250, left));
  }
}

/** The node makes every copy that it is told to make. */
function copying(node: ScriptedNode, failing = false): number[] {
  const told: number[] = [];
  node.onPush = (push) => {
    if (push.$case !== "replicate") return;
    const { chunk, len, crc } = push.value;
    told.push(chunk);
    if (failing) void node.failed([chunk], false, "ENOSPC");
    else void node.confirm([stored(chunk, [node.id], { len, crc, synced: [node.id] })]);
  };
  return told;
}

test("when a node stays away, what it held is copied from the others; not while it is only SUSPECT", async (t) => {
  const { bench, nodes, first } = await serving(t, "abc");
  const [a, b, c] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode];
  const chunks = [0, 1, 2, 3].map((i) => first + i);
  await a.register(chunks.map((chunk) => stored(chunk, [a.id, b.id])));
  const told = copying(c);
  await b.close();
  await pass(bench, 750, [a, c]);
  t.same(told, [], "a short absence moves nothing");
  await pass(bench, 1000, [a, c]);
  t.same([...told].sort(), chunks);
  t.match(c.pushed("replicate")[0], { len: 1000, from: [{ node: a.id, address: "a:1" }] });
  for (const chunk of chunks) t.same(await bench.copies(chunk), [`${a.id}:A`, `${b.id}:A`, `${c.id}:S`].sort());
  t.match(bench.cluster.status(), { underReplicated: 0, pending: 0, chunks: 4 });
});

test("a copy is PENDING in a durable row before its node is told", async (t) => {
  const commits = new CommitGate();
  const { bench, nodes, first } = await serving(t, "abc", { store: commits });
  const [a, b, c] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode];
  await a.register([stored(first, [a.id, b.id])]);
  commits.shut();
  void b.failed([first], true);
  await until(() => bench.cluster.status().pending === 1);
  await settle(20);
  t.same(c.pushed("replicate"), []);
  commits.open();
  await until(() => c.pushed("replicate").length > 0);
  t.same(await bench.copies(first), [`${a.id}:A`, `${c.id}:P`]);
});

test("copies that are assigned to a node that goes DOWN are assigned elsewhere at once", async (t) => {
  const opts = { replicas: 3, minReplicas: 2, deadlines: { confirmMs: 600_000 } };
  const { bench, nodes, first } = await serving(t, "abcd", opts);
  const [a, b, c, d] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode, ScriptedNode];
  copying(d);
  await a.register([stored(first, [a.id, b.id], { pending: [c.id] })]);
  await c.ask({ $case: "leave", value: {} });
  await until(() => bench.cluster.status().underReplicated === 0);
  t.same(await bench.copies(first), [`${a.id}:A`, `${b.id}:A`, `${d.id}:S`]);
});

test("what a node that is away holds takes no zone from the copy that replaces it", async (t) => {
  const { bench, nodes, first } = await serving(t, "abcd");
  const [a, b, c, d] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode, ScriptedNode];
  for (const [one, zone] of [
    [a, "x"],
    [b, "y"],
    [c, "x"],
    [d, "y"],
  ] as const) {
    await bench.cluster.setNode({ node: one.id, zone });
  }
  for (const node of [c, d]) copying(node);
  const chunks = Array.from({ length: 30 }, (_, i) => first + i);
  await a.register(chunks.map((chunk) => stored(chunk, [a.id, b.id])));
  await b.ask({ $case: "leave", value: {} });
  await until(() => bench.cluster.status().underReplicated === 0);
  for (const chunk of chunks) t.ok((await bench.copies(chunk)).includes(`${d.id}:S`), "in the other zone");
});

test("a replication that failed takes no copy that is confirmed off the list", async (t) => {
  const { bench, nodes, first } = await serving(t, "abc");
  const [a, b] = nodes as [ScriptedNode, ScriptedNode];
  await a.register([stored(first, [a.id, b.id])]);
  await b.failed([first], false, "ETIMEDOUT");
  t.same(await bench.copies(first), [`${a.id}:A`, `${b.id}:A`]);
});

test("the chunks with the fewest live copies are copied first", async (t) => {
  const { bench, nodes, first } = await serving(t, "abcd", { replicas: 4, minReplicas: 1 });
  const [a, b, c, d] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode, ScriptedNode];
  const three = first;
  const one = first + 1;
  const two = first + 2;
  await a.register([stored(three, [a.id, b.id, c.id]), stored(one, [a.id]), stored(two, [a.id, b.id])]);
  await bench.cluster.tasks.census.runOnce();
  const told = d.pushed("replicate").map(({ chunk }) => chunk);
  await settle();
  t.same(
    d.pushed("replicate").map(({ chunk }) => chunk),
    told.length > 0 ? told : [one, two, three],
  );
  t.same(
    d.pushed("replicate").map(({ chunk }) => chunk),
    [one, two, three],
  );
});

test("a copy that its node never called synced is asked for, and made anew when it is not there", async (t) => {
  const { bench, nodes, first } = await serving(t, "abc");
  const [a, b, c] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode];
  copying(c);
  // Power went at b after it had answered a: its inventory was over before a's word of b's copy came.
  await a.register([stored(first, [a.id, b.id], { synced: [a.id] })]);
  await bench.cluster.tasks.census.runOnce();
  t.same(b.pushed("sync"), [], "not before it had time to sync");
  await pass(bench, 20_000, nodes);
  await bench.cluster.tasks.census.runOnce();
  await settle();
  t.same(b.pushed("sync"), [{ chunks: [first] }]);
  t.same(a.pushed("sync"), []);
  await b.failed([first], true, "ENOENT");
  await until(async () => (await bench.copies(first)).includes(`${c.id}:S`));
  t.same(await bench.copies(first), [`${a.id}:S`, `${c.id}:S`]);
});

test("a copy that is not confirmed is asked for three times more, then another node gets the chunk", async (t) => {
  const { bench, nodes, first } = await serving(t, "abcd");
  const [a, b, c, d] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode, ScriptedNode];
  await a.register([stored(first, [a.id, b.id])]);
  await b.ask({ $case: "leave", value: {} });
  await until(() => c.pushed("replicate").length + d.pushed("replicate").length > 0);
  const isMute = c.pushed("replicate").length > 0 ? c : d;
  const other = isMute === c ? d : c;
  copying(other);
  t.equal(isMute.pushed("replicate").length, 1);
  t.match(bench.cluster.status(), { pending: 1, underReplicated: 1 });
  // Passes come every 225 to 275 ms (jitter), so a copy is due 1,000 to 1,275 ms after it was asked for.
  await pass(bench, 3900, [a, c, d]);
  t.equal(isMute.pushed("replicate").length, 4);
  t.same(other.pushed("replicate"), []);
  await pass(bench, 1750, [a, c, d]);
  t.same(await bench.copies(first), [`${a.id}:A`, `${b.id}:A`, `${other.id}:S`].sort());
  t.match(bench.cluster.status(), { pending: 0, underReplicated: 0 });
});

test("by default a copy has 30 s to be confirmed, and three times more", async (t) => {
  const opts = { deadlines: { nodeDownMs: 100_000, confirmMs: DEADLINES.confirmMs, heartbeatMs: 15_000 } };
  const { bench, nodes, first } = await serving(t, "abcd", { replicas: 3, minReplicas: 2, ...opts });
  const [a, b, c, d] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode, ScriptedNode];
  await a.register([stored(first, [a.id, b.id], { pending: [c.id] })]);
  const asked: number[] = [];
  for (let sec = 0; !d.pushed("replicate").length && sec < 300; sec += 5) {
    for (const node of nodes) void node.heartbeat();
    await bench.clock.advance(5_000);
    asked.push(c.pushed("replicate").length);
  }
  // Passes come every 7.5 s, give or take a tenth of that.
  for (const [times, sec] of [1, 2, 3].map((n) => [n, n * 30] as const)) {
    const at = (asked.findIndex((count) => count === times) + 1) * 5;
    t.ok(at >= sec && at <= sec + times * 9 + 5, `asked again for the ${times}. time after ${at} s`);
  }
  t.equal(c.pushed("replicate").length, 3);
  t.ok(asked.length * 5 >= 120 && asked.length * 5 <= 165, `given up after ${asked.length * 5} s`);
  t.same(await bench.copies(first), [`${a.id}:A`, `${b.id}:A`, `${d.id}:P`]);
});

test("a node that cannot copy is passed over", async (t) => {
  const { bench, nodes, first } = await serving(t, "abcd");
  const [a, b, c, d] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode, ScriptedNode];
  const full = copying(c, true);
  copying(d);
  const chunks = Array.from({ length: 20 }, (_, i) => first + i);
  await a.register(chunks.map((chunk) => stored(chunk, [a.id, b.id])));
  await b.failed(chunks, true);
  await pass(bench, 500, nodes);
  t.ok(full.length > 0, "placement chose the full node for some");
  for (const chunk of chunks) t.same((await bench.copies(chunk)).length, 2);
  t.match(bench.cluster.status(), { pending: 0, underReplicated: 0 });
});

test("the primary's own forwarding that fails is taken over by repair", async (t) => {
  const { bench, nodes, first } = await serving(t, "abcd", { replicas: 3, minReplicas: 2 });
  const [a, b, c, d] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode, ScriptedNode];
  await a.register([stored(first, [a.id, b.id], { pending: [c.id] })]);
  t.match(bench.cluster.status(), { pending: 1 });
  copying(d);
  await c.failed([first], false, "EIO");
  await until(() => bench.cluster.status().underReplicated === 0);
  t.same(await bench.copies(first), [`${a.id}:A`, `${b.id}:A`, `${d.id}:S`]);
});

test("not more copies are made at one time than is good for the users", async (t) => {
  const { bench, nodes, first } = await serving(t, "abc");
  const [a, b, c] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode];
  const chunks = Array.from({ length: 500 }, (_, i) => first + i);
  await a.register(chunks.map((chunk) => stored(chunk, [a.id, b.id])));
  await b.ask({ $case: "leave", value: {} });
  await until(() => c.pushed("replicate").length >= 64);
  await settle(50);
  t.equal(c.pushed("replicate").length, 64);
  const told = copying(c);
  await c.confirm(c.pushed("replicate").map(({ chunk, len, crc }) => stored(chunk, [c.id], { len, crc })));
  await pass(bench, 1000, nodes);
  t.equal(new Set([...told, ...c.pushed("replicate").map(({ chunk }) => chunk)]).size, 500);
  t.match(bench.cluster.status(), { underReplicated: 0, pending: 0 });
});

test("when nobody can take a copy it waits for a node that comes", async (t) => {
  const { bench, nodes, first } = await serving(t, "ab");
  const [a, b] = nodes as [ScriptedNode, ScriptedNode];
  await a.register([stored(first, [a.id, b.id])]);
  await b.ask({ $case: "leave", value: {} });
  await pass(bench, 3000, [a]);
  t.match(bench.cluster.status(), { underReplicated: 1, pending: 0 });
  const c = bench.connect("c");
  copying(c);
  await c.join();
  await until(() => bench.cluster.status().underReplicated === 0);
  t.same(await bench.copies(first), [`${a.id}:A`, `${b.id}:A`, `${c.id}:S`]);
});

test("a node that lost its copy gets it again only when no other can take it, and not at once", async (t) => {
  const { bench, nodes, first } = await serving(t, "ab");
  const [a, b] = nodes as [ScriptedNode, ScriptedNode];
  const told = copying(b);
  await a.register([stored(first, [a.id, b.id])]);
  await b.failed([first], true);
  await settle(20);
  t.same(told, []);
  await pass(bench, 2500, nodes);
  t.same(told, [first]);
  t.same(await bench.copies(first), [`${a.id}:A`, `${b.id}:S`]);
});

test("after a restart, copies that were PENDING are followed again", async (t) => {
  const { bench, nodes, first } = await serving(t, "abc", { replicas: 3, minReplicas: 2 });
  const [a, b, c] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode];
  await a.register([stored(first, [a.id, b.id], { pending: [c.id] })]);
  const next = await ClusterBench.make({ replicas: 3, minReplicas: 2, deadlines: FAST }, bench.store.crash());
  t.teardown(() => next.stop());
  const again: ScriptedNode[] = [];
  for (const name of "abc") {
    const node = next.connect(name);
    await node.join("none");
    again.push(node);
  }
  next.cluster.start();
  await pass(next, 500, again);
  t.match(next.cluster.status(), { pending: 1, chunks: 1, underReplicated: 1 });
  const told = copying(again[2] as ScriptedNode);
  await pass(next, 1500, again);
  t.same(told, [first]);
  t.match(next.cluster.status(), { pending: 0, underReplicated: 0 });
});
