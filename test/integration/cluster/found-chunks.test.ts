import { test, type Test } from "tap";
import { key } from "../../../daemon/meta/keys.js";
import { addReferences, dropReferences, newBudget } from "../../../daemon/meta/rules/references.js";
import { InodeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { ClusterBench, stored } from "../../helpers/cluster-bench.js";
import { settle } from "../../helpers/fake-clock.js";
import type { MemoryStoreOptions } from "../../../daemon/meta/memory-store.js";

const DEADLINES = { nodeDownMs: 10_000_000, deleteDelayMs: 30_000, orphanGraceMs: 60_000, cleanMs: 10_000 };
const FILE = 5;

/** A file names the first chunk of a session that has ended, and nothing the second; of neither is there a row. */
async function lost(t: Test, store: MemoryStoreOptions = {}) {
  const bench = await ClusterBench.make({ deadlines: DEADLINES, store });
  t.teardown(() => bench.stop());
  const [a, b] = [await bench.node("a"), await bench.node("b")];
  const first = await bench.session(77);
  const slice = (pos: number) => ({ pos, len: 100, chunk: first, off: pos, inline: Buffer.alloc(0) });
  await bench.executor.execute(0, (tx) => {
    tx.put(key.inode(FILE), InodeRow.fromPartial({ ino: FILE, replicas: 3 }));
    tx.put(key.slot(FILE, 0), { slices: [slice(0), slice(200)], seq: 0, dropped: [] });
    tx.put(key.slot(FILE, 1), { slices: [], seq: 0, dropped: [first] });
  });
  await bench.endSession(77);
  const tell = async () => {
    await a.confirm([stored(first, [a.id])]);
    await b.confirm([stored(first, [b.id]), stored(first + 1, [b.id])]);
  };
  return { bench, a, b, first, tell };
}

test("a chunk whose row was lost is not removed when its nodes tell of it: the files that name it have it again", async (t) => {
  const { bench, a, b, first, tell } = await lost(t);
  bench.cluster.start();
  await tell();
  t.match(await bench.chunk(first), { refs: 0, garbage: true }, "nothing is known of it but that");
  await bench.clock.advance(15_000);
  t.match(await bench.chunk(first), { refs: 3, garbage: false, wanted: 3 });
  t.equal(await bench.row(key.garbage(first)), undefined);
  await bench.clock.advance(300_000);
  t.same(await bench.copies(first), [`${a.id}:A`, `${b.id}:A`]);
  t.same(a.pushed("remove"), []);
  t.same(new Set(b.pushed("remove").flatMap(({ chunks }) => chunks)), new Set([first + 1]), "what nothing names goes");
});

test("so it is while cleaning is off", async (t) => {
  const { bench, first, tell } = await lost(t);
  Object.assign(bench.volume, { cleaningOff: true });
  bench.cluster.start();
  await tell();
  await bench.clock.advance(15_000);
  t.match(await bench.chunk(first), { refs: 3, garbage: false });
});

test("D9: slots that cannot be read are no evidence that nothing names a chunk", async (t) => {
  let isFailing = false;
  const gate = (call: string) => {
    if (isFailing && call === "scan") throw new Error("disk");
  };
  const { bench, b, first, tell } = await lost(t, { gate });
  bench.cluster.start();
  await settle();
  isFailing = true;
  await tell();
  await bench.clock.advance(300_000);
  isFailing = false;
  t.match(await bench.row(key.garbage(first + 1)), { deleting: false });
  t.same(b.pushed("remove"), []);
  await bench.clock.advance(20_000);
  t.match(await bench.chunk(first), { refs: 3, garbage: false });
  t.match(await bench.row(key.garbage(first + 1)), { deleting: true });
});

test("before it is known what names it a file may give it up, and none may come to name it", async (t) => {
  const { bench, first, tell } = await lost(t);
  await tell();
  await bench.executor.execute(0, (tx) => {
    t.same(dropReferences(tx, { ino: FILE, version: 2 }, [first], newBudget()), []);
    tx.del(key.slot(FILE, 1));
  });
  const add = bench.executor.execute(0, (tx) => addReferences(tx, new Map([[first, 1]]), 0, newBudget()));
  await t.rejects(add, /EAGAIN/);
  await bench.cluster.tasks.cleaning.runOnce();
  t.match(await bench.chunk(first), { refs: 2, garbage: false });
  await bench.executor.execute(0, (tx) => addReferences(tx, new Map([[first, 1]]), 0, newBudget()));
  t.match(await bench.chunk(first), { refs: 3 });
  await settle();
});
