import { test, type Test } from "tap";
import { ClusterBench, CommitGate, stored, type BenchOptions } from "../../helpers/cluster-bench.js";
import { settle, until } from "../../helpers/fake-clock.js";
import type { ScriptedNode } from "../../helpers/scripted-node.js";

const FAST = { nodeDownMs: 600_000, confirmMs: 1000, heartbeatMs: 500 };

/** Nodes a, b, c, ...; the volume is served. */
async function serving(t: Test, names: string, opts: BenchOptions = {}, zones: Readonly<Record<string, string>> = {}) {
  const bench = await ClusterBench.make({ ...opts, deadlines: { ...FAST, ...opts.deadlines } });
  t.teardown(() => bench.stop());
  const nodes: ScriptedNode[] = [];
  for (const name of names) nodes.push(await bench.node(name, { zone: zones[name] ?? name }));
  bench.cluster.start();
  await settle();
  return { bench, nodes, first: await bench.session(77) };
}

/** The node finds every copy whole that it is asked about, but for these, and removes what it is told to remove. */
function obeying(node: ScriptedNode, bad: ReadonlySet<number> = new Set()): number[] {
  const removed: number[] = [];
  node.onPush = (push) => {
    if (push.$case === "verify") {
      const { number, chunks } = push.value;
      const good = chunks.filter((chunk) => !bad.has(chunk));
      void node.verified(
        number,
        good.map((chunk) => stored(chunk, [node.id], { synced: [node.id] })),
      );
    }
    if (push.$case !== "remove") return;
    removed.push(...push.value.chunks);
    void node.removed(push.value.chunks);
  };
  return removed;
}

const states = async (bench: ClusterBench, chunk: number) =>
  (await bench.copies(chunk)).map((copy) => copy.split(":")[1]).join("");

test("of three copies where two are wanted one goes, when the two that stay were read and fsynced", async (t) => {
  const { bench, nodes, first } = await serving(t, "abc");
  await nodes[0]!.register([
    stored(
      first,
      nodes.map(({ id }) => id),
    ),
  ]);
  await until(() => nodes.filter((node) => node.pushed("verify").length > 0).length === 2);
  const stay = nodes.filter((node) => node.pushed("verify").length > 0);
  const [goes] = nodes.filter((node) => !stay.includes(node));
  const answer = (node: ScriptedNode) => {
    const [question] = node.pushed("verify");
    return node.verified(question?.number ?? 0, [stored(first, [node.id], { synced: [node.id] })]);
  };
  await answer(stay[0]!);
  await settle(20);
  t.same(goes!.pushed("remove"), [], "one has not answered yet");
  t.equal((await states(bench, first)).match(/D/), null);
  await answer(stay[1]!);
  await until(() => goes!.pushed("remove").length > 0);
  t.same(goes!.pushed("remove"), [{ chunks: [first] }]);
  t.same(await bench.copies(first), [`${goes!.id}:D`, ...stay.map(({ id }) => `${id}:S`)].sort());
  await goes!.removed([first]);
  t.same(await bench.copies(first), stay.map(({ id }) => `${id}:S`).sort());
  t.equal(stay.flatMap((node) => node.pushed("remove")).length, 0);
});

test("the node is told to remove only when DELETING is on disk", async (t) => {
  const commits = new CommitGate();
  const { bench, nodes, first } = await serving(t, "abc", { store: commits });
  await nodes[0]!.register([
    stored(
      first,
      nodes.map(({ id }) => id),
      { synced: nodes.map(({ id }) => id) },
    ),
  ]);
  await until(() => nodes.some((node) => node.pushed("verify").length > 0));
  commits.shut();
  for (const node of nodes) {
    for (const { number } of node.pushed("verify")) {
      void node.verified(number, [stored(first, [node.id], { synced: [node.id] })]);
    }
  }
  await until(async () => (await states(bench, first)).includes("D"));
  await settle(20);
  t.same(
    nodes.flatMap((node) => node.pushed("remove")),
    [],
  );
  commits.open();
  await until(() => nodes.some((node) => node.pushed("remove").length > 0));
});

test("D7: while a copy that shall stay is bad or nobody answers for it, none is removed", async (t) => {
  const { bench, nodes, first } = await serving(t, "abc");
  const removed = nodes.map((node) => obeying(node, new Set([first])));
  // The rows say that all is well.
  const ids = nodes.map(({ id }) => id);
  await nodes[0]!.register([stored(first, ids, { synced: ids })]);
  await bench.clock.advance(10_000);
  t.same(removed.flat(), []);
  t.equal(await states(bench, first), "SSS");
  const asked = nodes.filter((node) => node.pushed("verify").length > 0);
  t.ok(asked[0]!.pushed("verify").length > 2, "it is asked again");
  for (const node of nodes) obeying(node);
  await asked[0]!.failed([first], true, "EBADMSG");
  await bench.clock.advance(5_000);
  t.equal(await states(bench, first), "SS", "what was surplus is needed now");
});

test("a node that returns after its copies were made again gives back what is too much", async (t) => {
  const { bench, nodes, first } = await serving(t, "abc", { deadlines: { nodeDownMs: 1000 } });
  const [a, b, c] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode];
  const chunks = Array.from({ length: 200 }, (_, i) => first + i);
  await a.register(chunks.map((chunk) => stored(chunk, [a.id, b.id])));
  const heldBy = new Map([a, b, c].map((node) => [node.id, new Set(node === c ? [] : chunks)]));
  const live = (node: ScriptedNode) => {
    const held = heldBy.get(node.id) ?? new Set<number>();
    node.onPush = (push) => {
      if (push.$case === "replicate") {
        held.add(push.value.chunk);
        void node.confirm([stored(push.value.chunk, [node.id], { synced: [node.id] })]);
      } else if (push.$case === "verify") {
        const good = push.value.chunks.filter((chunk) => held.has(chunk));
        const words = good.map((chunk) => stored(chunk, [node.id], { synced: [node.id] }));
        void node.verified(push.value.number, words);
      } else if (push.$case === "remove") {
        for (const chunk of push.value.chunks) {
          held.delete(chunk);
          const left = [...heldBy.values()].filter((set) => set.has(chunk)).length;
          if (left < 2) t.fail(`${left} copies of ${chunk} are left`);
        }
        void node.removed(push.value.chunks);
      }
    };
  };
  live(a);
  live(c);
  await b.ask({ $case: "leave", value: {} });
  await b.close();
  await until(() => heldBy.get(c.id)?.size === 200);
  const again = bench.connect("b");
  await again.join("none");
  live(again);
  await again.inventory(
    chunks.map((chunk) => stored(chunk, [again.id], { synced: [again.id] })),
    true,
  );
  const total = () => [...heldBy.values()].reduce((sum, set) => sum + set.size, 0);
  for (let i = 0; total() > 400 && i < 40; i++) {
    for (const node of [a, again, c]) void node.heartbeat();
    await bench.clock.advance(250);
  }
  t.equal(total(), 400);
  t.match(bench.cluster.status(), { underReplicated: 0, pending: 0 });
  const sizes = [...heldBy.values()].map((set) => set.size);
  t.ok(
    sizes.every((size) => size > 90),
    `each node keeps its share, ${sizes.join()}`,
  );
});

test("D13: with fewer replicas than before the surplus goes, and never so that fewer are left", async (t) => {
  const { bench, nodes, first } = await serving(t, "abcd", { replicas: 3, minReplicas: 1 });
  const removed = nodes.map((node) => obeying(node));
  await nodes[0]!.register([
    stored(
      first,
      nodes.slice(0, 3).map(({ id }) => id),
    ),
  ]);
  await bench.clock.advance(3_000);
  t.equal(await states(bench, first), "AAA");
  Object.assign(bench.volume, { replicas: 2 });
  await nodes[0]!.close();
  bench.cluster.settingsChanged();
  await bench.clock.advance(3_000);
  t.same(removed.flat(), [], "one of the three is not there, and two are wanted");
  Object.assign(bench.volume, { replicas: 1 });
  bench.cluster.settingsChanged();
  await bench.clock.advance(3_000);
  t.same(removed.flat(), [first]);
});

test("while cleaning is off nothing goes that is too much, also what was verified before; when it is on again, it does", async (t) => {
  const { bench, nodes, first } = await serving(t, "abc");
  await nodes[0]!.register([
    stored(
      first,
      nodes.map(({ id }) => id),
    ),
  ]);
  const asked = () => nodes.filter((node) => node.pushed("verify").length > 0);
  await until(() => asked().length === 2);
  Object.assign(bench.volume, { cleaningOff: true });
  for (const node of asked()) {
    const [question] = node.pushed("verify");
    await node.verified(question?.number ?? 0, [stored(first, [node.id], { synced: [node.id] })]);
  }
  const removed = nodes.map((node) => obeying(node));
  await bench.clock.advance(10_000);
  t.same(removed.flat(), []);
  t.notMatch(await states(bench, first), /D/);
  Object.assign(bench.volume, { cleaningOff: false });
  bench.cluster.settingsChanged();
  await bench.clock.advance(10_000);
  t.same(removed.flat(), [first]);
});

test("copies stay apart: of two in one zone one goes", async (t) => {
  const zones = { a: "x", b: "x", c: "y" };
  const { bench, nodes, first } = await serving(t, "abc", {}, zones);
  const [, , c] = nodes as [ScriptedNode, ScriptedNode, ScriptedNode];
  for (const node of nodes) obeying(node);
  const chunks = Array.from({ length: 40 }, (_, i) => first + i);
  await nodes[0]!.register(
    chunks.map((chunk) =>
      stored(
        chunk,
        nodes.map(({ id }) => id),
      ),
    ),
  );
  await bench.clock.advance(5_000);
  for (const chunk of chunks) {
    const copies = await bench.copies(chunk);
    t.ok(copies.length === 2 && copies.includes(`${c.id}:S`), `chunk ${chunk}: ${copies.join()}`);
  }
});

test("after a restart the node that was not told is told, when those that stay were verified again", async (t) => {
  const { bench, nodes, first } = await serving(t, "abc");
  await nodes[0]!.register([
    stored(
      first,
      nodes.map(({ id }) => id),
    ),
  ]);
  await until(() => nodes.filter((node) => node.pushed("verify").length > 0).length === 2);
  for (const node of nodes) {
    for (const { number } of node.pushed("verify"))
      await node.verified(number, [stored(first, [node.id], { synced: [node.id] })]);
  }
  await until(async () => (await states(bench, first)).includes("D"));
  const before = await bench.copies(first);
  const next = await ClusterBench.make({ deadlines: FAST }, bench.store.crash());
  t.teardown(() => next.stop());
  const again: ScriptedNode[] = [];
  for (const name of "abc") {
    const node = next.connect(name);
    await node.join("none");
    // That it has the copy does not make it one that stays.
    await node.inventory([stored(first, [node.id], { synced: [node.id] })], true);
    again.push(node);
  }
  t.same(await next.copies(first), before);
  const removed = again.map((node) => obeying(node));
  next.cluster.start();
  await next.clock.advance(3_000);
  t.same(removed.flat(), [first]);
  t.equal(await states(next, first), "SS");
});

test("a copy that was to go stays when the others are lost before it went", async (t) => {
  const { bench, nodes, first } = await serving(t, "abc");
  await nodes[0]!.register([
    stored(
      first,
      nodes.map(({ id }) => id),
    ),
  ]);
  await until(() => nodes.filter((node) => node.pushed("verify").length > 0).length === 2);
  const stay = nodes.filter((node) => node.pushed("verify").length > 0);
  const [goes] = nodes.filter((node) => !stay.includes(node)) as [ScriptedNode];
  for (const node of stay) {
    for (const { number } of node.pushed("verify"))
      await node.verified(number, [stored(first, [node.id], { synced: [node.id] })]);
  }
  await until(async () => (await states(bench, first)).includes("D"));
  await goes.close();
  const again = bench.connect(goes.about.uuid);
  for (const node of stay) await node.failed([first], true, "EBADMSG");
  await again.join("none");
  const removed = obeying(again);
  await again.inventory([stored(first, [again.id], { synced: [again.id] })], true);
  await bench.clock.advance(3_000);
  t.same(removed, []);
  t.ok((await bench.copies(first)).includes(`${again.id}:S`));
});
