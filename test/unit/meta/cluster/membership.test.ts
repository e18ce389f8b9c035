import { test } from "tap";
import { key } from "../../../../daemon/meta/keys.js";
import { FsError } from "../../../../proto/errno.js";
import type { Reach } from "../../../../daemon/meta/cluster/reach.js";
import { ClusterBench } from "../../../helpers/cluster-bench.js";
import { settle } from "../../../helpers/fake-clock.js";

const stateOf = (bench: ClusterBench, id: number) => bench.cluster.map().nodes.find((n) => n.id === id)?.state;

test("a new node gets an id that is durable before it is told, then the map", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const node = bench.connect("a");
  const reply = await node.join("none");
  t.match(reply, { errno: "", op: { $case: "joined", value: { volume: "the-volume", chunkSize: 2 ** 20 } } });
  const afterCrash = await ClusterBench.make({}, bench.store.crash());
  t.teardown(() => afterCrash.stop());
  t.match(await afterCrash.row(key.node(node.id)), { id: node.id, uuid: "a", address: "a:1" });
  await settle();
  t.match(node.map, { nodes: [{ id: node.id, uuid: "a", state: "UP", weight: 100 }] });
});

test("a data folder of another volume is refused, saying so, and nothing is recorded", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const node = bench.connect("a", { volume: "another" });
  const reply = await node.join();
  t.equal(reply.errno, "EINVAL");
  t.match(reply.detail, /volume another/);
  await settle();
  t.ok(node.isClosed);
  t.same(bench.cluster.map().nodes, []);
});

test("a known uuid returns to its id, also after a restart, and a new address raises the map version", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const first = await bench.node("a");
  const other = await bench.node("b");
  await first.close();
  const before = bench.cluster.map().version;
  const again = await bench.node("a", { address: "elsewhere:7" });
  t.equal(again.id, first.id);
  t.not(again.id, other.id);
  t.ok(bench.cluster.map().version > before);
  await settle();
  t.match(
    other.map?.nodes.find((n) => n.id === again.id),
    { address: "elsewhere:7", state: "UP" },
  );
  const { version } = bench.cluster.map();
  const restarted = await ClusterBench.make({}, bench.store.crash());
  t.teardown(() => restarted.stop());
  t.ok(restarted.cluster.map().version > version, "versions grow over restarts");
  t.equal(stateOf(restarted, first.id), "SUSPECT");
  t.equal((await restarted.node("a")).id, first.id);
});

test("an address is tried before a node is recorded with it, and need not answer when the node comes back", async (t) => {
  const tried: string[] = [];
  const reach: Reach = ({ uuid, address }, { mustAnswer }) => {
    tried.push(`${uuid} ${address}${mustAnswer ? "" : ", may be silent"}`);
    return address === "nowhere:1"
      ? Promise.reject(new FsError("EADDRNOTAVAIL", "nobody answers at nowhere:1"))
      : Promise.resolve();
  };
  const bench = await ClusterBench.make({ reach });
  t.teardown(() => bench.stop());
  const lost = bench.connect("a", { address: "nowhere:1" });
  t.match(await lost.join(), { errno: "EADDRNOTAVAIL", detail: "nobody answers at nowhere:1" });
  await settle();
  t.ok(lost.isClosed);
  t.same(bench.cluster.map().nodes, []);
  await (await bench.node("a")).close();
  await bench.node("a");
  t.same(tried, ["a nowhere:1", "a a:1", "a a:1, may be silent"]);
  const restarted = await ClusterBench.make({ reach }, bench.store.crash());
  t.teardown(() => restarted.stop());
  await restarted.node("a");
  await restarted.node("a", { address: "b:1" });
  t.same(tried.slice(3), ["a a:1, may be silent", "a b:1"]);
});

test("of two administrators who give two nodes one name at once, one is refused", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const ids = [(await bench.node("a")).id, (await bench.node("b")).id];
  const outcomes = await Promise.allSettled(ids.map((node) => bench.cluster.setNode({ node, name: "same" })));
  t.match(outcomes, [{ status: "fulfilled" }, { status: "rejected", reason: { errno: "EEXIST" } }]);
  const named = bench.cluster.map().nodes.filter(({ name }) => name === "same");
  t.match(named, [{ id: ids[0] }]);
});

test("of two streams with one uuid the newer stays, and the end of the older changes nothing", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const older = await bench.node("a");
  const newer = await bench.node("a");
  await settle();
  t.equal(newer.id, older.id);
  t.ok(older.isClosed);
  t.notOk(newer.isClosed);
  t.equal(stateOf(bench, newer.id), "UP");
  t.equal(bench.cluster.map().nodes.length, 1);
  t.equal((await newer.heartbeat()).errno, "");
});

test("two first joins of one uuid at the same moment get one id", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const [x, y] = [bench.connect("a"), bench.connect("a")];
  await Promise.all([x.join("none"), y.join("none")]);
  t.equal(x.id, y.id);
  t.not(x.id, 0);
  t.equal(bench.cluster.map().nodes.length, 1);
});

test("a broken stream makes a node SUSPECT at once, silence makes it DOWN, and it comes back UP", async (t) => {
  const bench = await ClusterBench.make({ deadlines: { nodeDownMs: 1000 } });
  t.teardown(() => bench.stop());
  const node = await bench.node("a");
  await node.close();
  t.equal(stateOf(bench, node.id), "SUSPECT");
  t.ok(bench.cluster.isLive(node.id));
  await bench.clock.advance(900);
  t.equal(stateOf(bench, node.id), "SUSPECT");
  await bench.clock.advance(200);
  t.equal(stateOf(bench, node.id), "DOWN");
  t.notOk(bench.cluster.isLive(node.id));
  await bench.node("a");
  t.equal(stateOf(bench, node.id), "UP");
});

test("a node that is silent on an open stream goes DOWN and its stream is closed; one that speaks stays UP", async (t) => {
  const bench = await ClusterBench.make({ deadlines: { nodeDownMs: 1000 } });
  t.teardown(() => bench.stop());
  const [silent, speaking] = [await bench.node("a"), await bench.node("b")];
  for (let i = 0; i < 3; i++) {
    await bench.clock.advance(500);
    await speaking.heartbeat();
  }
  t.equal(stateOf(bench, silent.id), "DOWN");
  t.equal(stateOf(bench, speaking.id), "UP");
  await settle();
  t.ok(silent.isClosed);
});

test("D39: after a stall of the daemon nobody is DOWN who spoke meanwhile", async (t) => {
  const bench = await ClusterBench.make({ deadlines: { nodeDownMs: 1000 } });
  t.teardown(() => bench.stop());
  const [spoke, silent] = [await bench.node("a"), await bench.node("b")];
  bench.clock.stall(60_000);
  void spoke.heartbeat();
  await bench.clock.advance(0);
  t.equal(stateOf(bench, spoke.id), "UP");
  t.equal(stateOf(bench, silent.id), "UP", "nobody is judged before the sockets are drained");
  await bench.clock.advance(200);
  t.equal(stateOf(bench, spoke.id), "UP");
  t.equal(stateOf(bench, silent.id), "DOWN");
});

test("a node that leaves is DOWN at once", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const node = await bench.node("a");
  t.equal((await node.ask({ $case: "leave", value: {} })).errno, "");
  t.equal(stateOf(bench, node.id), "DOWN");
  await node.close();
  t.equal(stateOf(bench, node.id), "DOWN");
  const hasty = await bench.node("b");
  hasty.link.send({ id: 0, op: { $case: "leave", value: {} } });
  await hasty.close();
  t.equal(stateOf(bench, hasty.id), "DOWN", "also when the stream ends right behind it");
});

test("the weight follows free space, but small changes make no new map", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const node = await bench.node("a", { capacity: 10 * 2 ** 30, used: 0 });
  const { version } = bench.cluster.map();
  await node.heartbeat({ capacity: 10 * 2 ** 30, used: 2 ** 29 });
  t.equal(bench.cluster.map().version, version);
  await node.heartbeat({ capacity: 10 * 2 ** 30, used: 5 * 2 ** 30 });
  t.equal(bench.cluster.map().version, version + 1);
  t.match(bench.cluster.map().nodes, [{ weight: 5 }]);
  await node.heartbeat({ capacity: 10 * 2 ** 30, used: 11 * 2 ** 30 });
  t.match(bench.cluster.map().nodes, [{ weight: 0.001 }]);
  t.same(bench.cluster.capacity(), { capacity: 5 * 2 ** 30, free: 0 });
});

test("what is said before joining is refused, and so is what this daemon does not know", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  const eager = bench.connect("a");
  t.equal((await eager.heartbeat()).errno, "EPROTO");
  await settle();
  t.ok(eager.isClosed);
  const node = await bench.node("b");
  t.equal((await node.ask(undefined)).errno, "EOPNOTSUPP");
  t.notOk(node.isClosed, "an unknown message does not end the stream");
});

test("metrics say how many nodes are in each state", async (t) => {
  const bench = await ClusterBench.make();
  t.teardown(() => bench.stop());
  await bench.node("a");
  await (await bench.node("b")).close();
  const text = await bench.metrics();
  t.match(text, /bigfs_cluster_nodes\{state="UP"\} 1/);
  t.match(text, /bigfs_cluster_nodes\{state="SUSPECT"\} 1/);
  t.match(text, /bigfs_cluster_nodes\{state="DOWN"\} 0/);
});
