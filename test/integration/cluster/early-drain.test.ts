import { test } from "tap";
import { key } from "../../../daemon/meta/keys.js";
import { ClusterBench, stored } from "../../helpers/cluster-bench.js";

test("a node is not drained before it is known how many copies chunks want", async (t) => {
  const before = await ClusterBench.make();
  t.teardown(() => before.stop());
  const nodes = [await before.node("a"), await before.node("b"), await before.node("c")];
  const chunk = await before.session(77);
  const ids = nodes.map(({ id }) => id);
  await nodes[0]?.register([stored(chunk, ids, { synced: ids, wanted: 3 })]);
  await before.refer(chunk);
  await before.node("d");
  await before.executor.drained();

  const bench = await ClusterBench.make({}, before.store.crash());
  t.teardown(() => bench.stop());
  for (const name of ["a", "b", "c"]) await bench.connect(name).join("none");
  const [, b, , d] = bench.cluster.status().nodes.map(({ id }) => id);
  await bench.cluster.removeNode({ node: d ?? 0, lost: true, force: false });
  const refused = { message: /^EBUSY: without b 2 nodes would be left for 3 copies/ };
  await t.rejects(bench.cluster.setNode({ node: b ?? 0, draining: true }), refused);
  t.notOk((await bench.row(key.node(b ?? 0)))?.draining);
});

test("nor is one removed that is empty", async (t) => {
  const before = await ClusterBench.make();
  t.teardown(() => before.stop());
  const [a, b] = [await before.node("a"), await before.node("b"), await before.node("c")];
  const chunk = await before.session(77);
  await a.register([stored(chunk, [a.id, b.id], { wanted: 3 })]);
  await before.refer(chunk);
  await before.executor.drained();

  const bench = await ClusterBench.make({}, before.store.crash());
  t.teardown(() => bench.stop());
  for (const name of ["a", "b", "c"]) await bench.connect(name).join("none");
  const [, , c] = bench.cluster.status().nodes.map(({ id }) => id);
  const refused = { message: /^EBUSY: without c 2 nodes would be left for 3 copies/ };
  await t.rejects(bench.cluster.removeNode({ node: c ?? 0, lost: false, force: false }), refused);
});
