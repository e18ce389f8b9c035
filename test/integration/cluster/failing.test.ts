import { test } from "tap";
import { ClusterBench, stored } from "../../helpers/cluster-bench.js";
import { settle, until } from "../../helpers/fake-clock.js";
import type { ScriptedNode } from "../../helpers/scripted-node.js";

/** The node makes every copy that it is told to make. */
function copying(node: ScriptedNode): void {
  node.onPush = (push) => {
    if (push.$case !== "replicate") return;
    const { chunk, len, crc } = push.value;
    void node.confirm([stored(chunk, [node.id], { len, crc, synced: [node.id] })]);
  };
}

test("what is on failing disks is copied away from them, also when all copies are on such", async (t) => {
  const bench = await ClusterBench.make({ deadlines: { confirmMs: 1000 } });
  t.teardown(() => bench.stop());
  const [a, b] = [await bench.node("a"), await bench.node("b")];
  bench.cluster.start();
  await settle();
  const chunk = await bench.session(77);
  await a.register([stored(chunk, [a.id, b.id])]);
  await a.heartbeat({ failing: "three files failed" });
  await b.heartbeat({ failing: "three files failed" });
  await until(() => bench.cluster.status().underReplicated === 1);
  // Only now there are others.
  const [c, d] = ["c", "d"].map((name) => bench.connect(name)) as [ScriptedNode, ScriptedNode];
  for (const node of [c, d]) {
    copying(node);
    await node.join();
  }
  await until(() => bench.cluster.status().underReplicated === 0 && c.pushed("replicate").length > 0);
  const { from } = [...c.pushed("replicate"), ...d.pushed("replicate")][0] ?? {};
  t.match(
    from?.map(({ node }) => node),
    [a.id, b.id],
  );
  t.same(await bench.copies(chunk), [`${a.id}:A`, `${b.id}:A`, `${c.id}:S`, `${d.id}:S`], "and nothing is removed");
  const state = (id: number) => bench.cluster.map().nodes.find((node) => node.id === id);
  t.match(state(a.id), { state: "DRAINING", failing: "three files failed" });
  t.equal(bench.cluster.isLive(a.id), false, "a copy there does not count for a commit");
  // Its daemon was started again, perhaps on another disk.
  await a.heartbeat();
  t.match(state(a.id), { state: "UP" });
  t.equal(bench.cluster.isLive(a.id), true);
});
