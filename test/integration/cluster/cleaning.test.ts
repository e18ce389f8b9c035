import { test, type Test } from "tap";
import { key } from "../../../daemon/meta/keys.js";
import { makeGarbage } from "../../../daemon/meta/rules/chunks.js";
import { cleaningCases } from "../../../daemon/meta/cluster/cleaning-cases.js";
import { endSession } from "../../../daemon/meta/session-rows.js";
import { setVolume } from "../../../daemon/meta/rules/volume.js";
import { ClusterBench, CommitGate, stored, type BenchOptions } from "../../helpers/cluster-bench.js";
import { settle, until } from "../../helpers/fake-clock.js";
import type { ScriptedNode } from "../../helpers/scripted-node.js";

const SLOW_NODES = { nodeDownMs: 10_000_000, deleteDelayMs: 30_000, orphanGraceMs: 60_000, cleanMs: 10_000 };

async function serving(t: Test, opts: BenchOptions = {}) {
  const bench = await ClusterBench.make({ ...opts, deadlines: { ...SLOW_NODES, ...opts.deadlines } });
  t.teardown(() => bench.stop());
  const [a, b] = [await bench.node("a"), await bench.node("b")];
  bench.cluster.start();
  await settle();
  return { bench, a, b, first: await bench.session(77) };
}

/** Nothing names the chunk any more, by a change of that file. */
async function drop(bench: ClusterBench, chunk: number, by = { ino: 0, version: 0 }): Promise<void> {
  await bench.executor.execute(0, (tx) => {
    const row = tx.get(key.chunk(chunk));
    if (row !== undefined) makeGarbage(tx, { ...row, refs: 0 }, by);
  });
}

/** The node removes everything that it is told to remove. */
function removing(node: ScriptedNode): number[] {
  const gone: number[] = [];
  node.onPush = (push) => {
    if (push.$case !== "remove") return;
    gone.push(...push.value.chunks);
    void node.removed(push.value.chunks);
  };
  return gone;
}

test("garbage is removed after the delay, in two phases, and its rows go with the last copy", async (t) => {
  const { bench, a, b, first } = await serving(t);
  await a.register([stored(first, [a.id, b.id]), stored(first + 1, [a.id, b.id])]);
  await bench.refer(first + 1);
  await drop(bench, first);
  const goneA = removing(a);
  await bench.clock.advance(29_000);
  t.same(goneA, []);
  t.match(await bench.row(key.garbage(first)), { deleting: false });
  t.equal(bench.cluster.status().garbage, 1);
  await bench.clock.advance(30_000);
  t.same(goneA, [first]);
  t.same(b.pushed("remove"), [{ chunks: [first] }]);
  t.same(await bench.copies(first), [`${b.id}:D`], "only b has not answered");
  await b.removed([first]);
  t.equal(await bench.chunk(first), undefined);
  t.equal(await bench.row(key.garbage(first)), undefined);
  t.same(await bench.copies(first + 1), [`${a.id}:A`, `${b.id}:A`], "what is in use stays");
  await bench.cluster.tasks.cleaning.runOnce();
  t.equal(bench.cluster.status().garbage, 0);
  t.equal(bench.cluster.status().chunks, 1);
});

test("nodes are told only when DELETING is on disk", async (t) => {
  const commits = new CommitGate();
  const { bench, a, b, first } = await serving(t, { store: commits });
  await a.register([stored(first, [a.id, b.id])]);
  await drop(bench, first);
  await bench.clock.advance(34_000);
  t.match(await bench.row(key.garbage(first)), { deleting: false });
  await bench.change(key.volume, (volume) => ({ ...volume, servedSec: volume.servedSec + 60 }));
  commits.shut();
  const pass = bench.cluster.tasks.cleaning.runOnce();
  await until(async () => (await bench.row(key.garbage(first)))?.deleting === true);
  await settle(20);
  t.same(a.pushed("remove"), []);
  commits.open();
  await pass;
  await settle();
  t.same(a.pushed("remove"), [{ chunks: [first] }]);
  t.same(await bench.copies(first), [`${a.id}:D`, `${b.id}:D`]);
});

test("D35: garbage stays until what replaced it is synced on M nodes", async (t) => {
  const { bench, a, b, first } = await serving(t);
  const [older, newer, later] = [first, first + 1, first + 2];
  await a.register([older, newer, later].map((chunk) => stored(chunk, [a.id, b.id])));
  for (const chunk of [newer, later]) await bench.refer(chunk);
  await bench.executor.execute(0, (tx) => tx.put(key.unsynced(5), { chunks: [newer, later], versions: [8, 9] }));
  await drop(bench, older, { ino: 5, version: 8 });
  await bench.clock.advance(300_000);
  t.same(await bench.copies(older), [`${a.id}:A`, `${b.id}:A`]);
  t.same(a.pushed("sync").at(0), { chunks: [newer, later] }, "the nodes were asked to sync it");
  await a.synced([newer]);
  await bench.clock.advance(20_000);
  t.same(await bench.copies(older), [`${a.id}:A`, `${b.id}:A`], "one copy is not M");
  await b.synced([newer]);
  await bench.clock.advance(20_000);
  t.same(await bench.copies(older), [`${a.id}:D`, `${b.id}:D`]);
});

test("a copy on a silent node stays listed until it returns and has removed it", async (t) => {
  const { bench, a, b, first } = await serving(t);
  await a.register([stored(first, [a.id, b.id])]);
  await drop(bench, first);
  removing(a);
  await b.close();
  await bench.clock.advance(600_000);
  t.same(await bench.copies(first), [`${b.id}:D`]);
  const again = bench.connect("b");
  const gone = removing(again);
  await again.join("none");
  await again.inventory([stored(first, [again.id])], true);
  await until(async () => (await bench.chunk(first)) === undefined);
  t.same([...new Set(gone)], [first]);
});

test("'not here' counts only from a node with a recent heartbeat", async (t) => {
  const { bench, a, b, first } = await serving(t, { deadlines: { recentHeartbeatMs: 300_000 } });
  await a.register([stored(first, [a.id, b.id])]);
  await drop(bench, first);
  await bench.clock.advance(400_000);
  t.equal((await a.removed([first])).errno, "EAGAIN");
  t.same(await bench.copies(first), [`${a.id}:D`, `${b.id}:D`]);
  await a.heartbeat();
  t.equal((await a.removed([first])).errno, "");
  t.same(await bench.copies(first), [`${b.id}:D`]);
});

test("a copy that appears after the decision is removed too", async (t) => {
  const { bench, a, b, first } = await serving(t);
  const c = await bench.node("c");
  await a.register([stored(first, [a.id, b.id])]);
  await drop(bench, first);
  await bench.clock.advance(60_000);
  await c.confirm([stored(first, [c.id])]);
  await settle();
  t.same(c.pushed("remove"), [{ chunks: [first] }]);
  t.same(await bench.copies(first), [`${a.id}:D`, `${b.id}:D`, `${c.id}:D`]);
});

test("chunks of an ended session that were never committed go after the grace; then the session is forgotten", async (t) => {
  const { bench, a, b, first } = await serving(t);
  const other = await bench.session(78);
  await a.register([first, first + 1, other].map((chunk) => stored(chunk, [a.id, b.id])));
  await bench.refer(first + 1);
  await bench.executor.execute(0, (tx) => tx.put(key.reply(77, 5), { frame: Buffer.from("x") }));
  await bench.endSession(77);
  const gone = removing(a);
  removing(b);
  await bench.clock.advance(55_000);
  t.match(await bench.chunk(first), { garbage: false });
  await bench.clock.advance(80_000);
  t.same(gone, [first]);
  t.equal(await bench.chunk(first), undefined);
  t.match(await bench.chunk(first + 1), { refs: 1, garbage: false });
  t.match(await bench.chunk(other), { garbage: false }, "its session lives");
  t.equal(await bench.row(key.session(77)), undefined);
  t.equal(await bench.row(key.reply(77, 5)), undefined);
  t.ok(await bench.row(key.session(78)));
  t.ok(await bench.row(key.range(first)), "the range stays: it is the evidence about late copies");
});

test("D9: a scan that fails deletes nothing that it did not see", async (t) => {
  let failing = "";
  const { bench, a, b, first } = await serving(t, {
    store: {
      gate: (call) => {
        if (call === failing) throw new Error("disk");
      },
    },
  });
  await a.register([stored(first, [a.id, b.id])]);
  await bench.endSession(77);
  await bench.clock.advance(50_000);
  failing = "scan";
  await bench.clock.advance(200_000);
  t.match(await bench.chunk(first), { garbage: false });
  t.ok(await bench.row(key.session(77)));
  t.same(a.pushed("remove"), []);
  t.match(await bench.metrics(), /bigfs_task_failures_total\{task="cleaning"\} [1-9]/);
  failing = "";
  await bench.clock.advance(60_000);
  t.same(a.pushed("remove"), [{ chunks: [first] }]);
});

test("D17: a jump of the clock, or a daemon that is down, ages nothing", async (t) => {
  const { bench, a, b, first } = await serving(t);
  await a.register([stored(first, [a.id, b.id])]);
  await drop(bench, first);
  await bench.clock.advance(10_000);
  bench.clock.stall(3_600_000);
  await bench.clock.advance(0);
  await bench.cluster.tasks.served.runOnce();
  await bench.cluster.tasks.cleaning.runOnce();
  t.match(await bench.row(key.garbage(first)), { deleting: false });
  const { servedSec } = await bench.mustRow(key.volume);
  t.ok(servedSec >= 8 && servedSec <= 25, `served ${servedSec} s`);
  const next = await ClusterBench.make({}, bench.store.crash());
  t.teardown(() => next.stop());
  t.equal((await next.mustRow(key.volume)).servedSec, servedSec);
});

test("what goes before a daemon has counted its chunks for the first time is not subtracted from nothing", async (t) => {
  const { bench, a, b, first } = await serving(t, { deadlines: { deleteDelayMs: 1_000 } });
  await a.register([stored(first, [a.id, b.id]), stored(first + 1, [a.id, b.id])]);
  await bench.refer(first + 1);
  await drop(bench, first);
  await bench.clock.advance(30_000);
  t.same(a.pushed("remove"), [{ chunks: [first] }]);
  await bench.executor.drained();
  const next = await ClusterBench.make({}, bench.store.crash());
  t.teardown(() => next.stop());
  for (const node of [next.connect("a"), next.connect("b")]) {
    await node.join("none");
    await node.heartbeat();
    await node.removed([first]);
  }
  t.equal(await next.chunk(first), undefined);
  const counted = () => [next.cluster.status().chunks, ...next.cluster.status().nodes.map(({ copies }) => copies)];
  t.same(counted(), [0, 0, 0]);
  await next.cluster.tasks.census.runOnce();
  t.same(counted(), [1, 1, 1]);
});

test("removals go out in batches, and not more at once than a node answers for", async (t) => {
  const { bench, a, first } = await serving(t, { replicas: 1 });
  const more = await bench.session(78);
  const chunks = Array.from({ length: 1700 }, (_, i) => (i < 1000 ? first + i : more + i - 1000));
  await a.register(chunks.map((chunk) => stored(chunk, [a.id])));
  for (const chunk of chunks) await drop(bench, chunk);
  await bench.clock.advance(55_000);
  const told = a.pushed("remove").flatMap((push) => push.chunks);
  t.ok(told.length >= 1000 && told.length < 1700, `${told.length} at once`);
  t.ok(a.pushed("remove").every((push) => push.chunks.length <= 100));
  const gone = removing(a);
  await a.removed(told);
  await until(() => bench.cluster.status().chunks === 0);
  t.equal(new Set([...told, ...gone]).size, 1700);
});

test("what cleaning would do is told as it then does it, and telling it changes nothing", async (t) => {
  const { bench, a, b, first } = await serving(t);
  const told = async () => {
    const rows = await bench.store.snapshot();
    const cases: string[] = [];
    for await (const { chunk, fate, why } of cleaningCases(rows, await bench.cluster.cleaningDue()))
      cases.push(`${chunk - first} ${fate}: ${why}`);
    return cases;
  };
  await a.register([0, 1, 2].map((n) => stored(first + n, [a.id, b.id])));
  await bench.refer(first);
  await bench.refer(first + 1);
  await bench.executor.drained();
  t.match(await told(), [/^2 wait: no file has it yet; session 77 may still commit it$/]);
  await drop(bench, first);
  await bench.executor.drained();
  t.match(await told(), [/^0 wait: nothing names it; its delay is over after 3\d s of service$/, /^2 wait/]);
  await bench.clock.advance(25_000);
  t.match(await told(), [/^0 wait: .* after 1\d s of service$/, /^2 wait/]);
  t.match(await bench.row(key.garbage(first)), { deleting: false });
  await bench.clock.advance(30_000);
  t.match(await told(), [/^0 removing: node 1, 2 has not said that it is gone$/, /^2 wait/]);
  await bench.executor.execute(0, (tx) => endSession(tx, 77));
  await bench.executor.drained();
  t.match(await told(), [/^0 removing/, /^2 wait: no file got it; its session's grace is over after \d+ s/]);
});

test("while cleaning is off nothing is removed, however old it is; once it is on it goes", async (t) => {
  const { bench, a, b, first } = await serving(t);
  const set = async (cleaning: boolean) => {
    const { value } = await bench.executor.execute(0, (tx) => setVolume(tx, { cleaning }));
    Object.assign(bench.volume, value);
    bench.cluster.settingsChanged();
    await settle();
  };
  await a.register([stored(first, [a.id, b.id])]);
  await bench.refer(first);
  await set(false);
  await drop(bench, first);
  const gone = removing(a);
  await bench.clock.advance(600_000);
  t.same([gone, b.pushed("remove")], [[], []]);
  t.match(await bench.row(key.garbage(first)), { deleting: false });
  await set(true);
  await bench.clock.advance(10_000);
  t.same(gone, [first]);
  await set(false);
  await b.confirm([stored(first, [b.id])]);
  await settle();
  t.equal(b.pushed("remove").length, 1, "of what is said of a copy again, too");
});
