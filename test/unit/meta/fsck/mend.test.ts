import pino from "pino";
import { test } from "tap";
import { Executor } from "../../../../daemon/meta/executor.js";
import type { Finding } from "../../../../daemon/meta/fsck/finding.js";
import { fsck } from "../../../../daemon/meta/fsck/fsck.js";
import { Mender } from "../../../../daemon/meta/fsck/mender.js";
import { key, type Key, type RowKind, type Rows } from "../../../../daemon/meta/keys.js";
import { MemoryStore } from "../../../../daemon/meta/memory-store.js";
import { encodeRow } from "../../../../daemon/meta/row-codec.js";
import { GarbageRow, ReplicaState, UnsyncedRow } from "../../../../proto/gen/bigfs/v1/rows.js";
import { DAMAGES, change, good, remove, type Damage } from "./tampered.js";

/** A store with those rows, and who mends it. */
function bench(rows: Map<string, Uint8Array>) {
  const store = new MemoryStore({}, rows);
  const executor = new Executor({ store, log: pino({ level: "silent" }) });
  const reaped: number[] = [];
  const mender = new Mender({
    executor,
    cluster: {
      changeChunk: async (_, rule) => (await executor.execute(0, rule)).value,
      held: () => Promise.reject(new Error("no node is asked")),
      status: () => {
        throw new Error("no node is asked");
      },
    },
    recalls: { changed: () => Promise.resolve() },
    reaper: { orphaned: (ino) => void reaped.push(ino), unopened: () => Promise.resolve() },
    dialStore: () => Promise.reject(new Error("no node is asked")),
  });
  const find = async (): Promise<Finding[]> => {
    await executor.drained();
    const all: Finding[] = [];
    for await (const finding of fsck(await store.snapshot())) all.push(finding);
    return all;
  };
  return { executor, mender, find, reaped };
}

/** What is found, mended, and found again until nothing more is mended. */
async function repair({ mender, find }: ReturnType<typeof bench>) {
  const outcomes: string[] = [];
  for (let round = 0; round < 5; round++) {
    const findings = await find();
    let mended = 0;
    for (const finding of findings) {
      if (finding.mend === undefined) continue;
      const done = await mender.mend(finding);
      outcomes.push(done.outcome);
      if (done.mended) mended++;
    }
    if (mended === 0) return { left: findings, outcomes };
  }
  throw new Error("it does not come to an end");
}

const put =
  <K extends RowKind>(at: Key<K>, row: Rows[K]): Damage =>
  (rows) =>
    rows.set(at, encodeRow(at, row));

/** What repair leaves alone. */
const REFUSED: ReadonlySet<string> = new Set(["sweep", "missing", "lost", "kept", "entry", "folder"]);

test("each thing that is wrong is set right, or left alone with a reason", async (t) => {
  for (const [what, damage, expected] of DAMAGES) {
    const rows = good();
    damage(rows);
    const at = bench(rows);
    const { left } = await repair(at);
    const kept = expected.filter(([check]) => REFUSED.has(check));
    t.same(
      left.map(({ check }) => check),
      kept.map(([check]) => check),
      what,
    );
    for (const { refusal } of left) t.match(refusal, /\w+ \w+/, `${what}: why not`);
  }
});

test("several things at once come right in a few rounds", async (t) => {
  const rows = good();
  const damages = [
    change(key.inode(1), { nlink: 9, children: 0, nextCookie: 3 }),
    change(key.inode(5), { parent: 7, children: 4 }),
    change(key.inode(7), { nlink: 1, stored: 0 }),
    remove(key.cookie(1, 4)),
    remove(key.cookie(5, 3)),
    change(key.chunk(20), { refs: 0 }),
    change(key.chunk(21), { refs: 5 }),
    change(key.usage, { inodes: 40, bytes: -3 }),
  ];
  for (const damage of damages) damage(rows);
  const at = bench(rows);
  t.same((await repair(at)).left, []);
  const { value } = await at.executor.execute(0, (tx) => [tx.get(key.inode(7))?.nlink, tx.get(key.chunk(21))?.refs]);
  t.same(value, [2, 1]);
});

test("a chunk that nothing names goes as garbage; one that is named is none any more; none in removal is touched", async (t) => {
  const rows = good();
  change(key.chunk(22), { garbage: false, refs: 3 })(rows);
  remove(key.garbage(22))(rows);
  change(key.chunk(21), { garbage: true, refs: 0 })(rows);
  put(key.garbage(21), GarbageRow.fromPartial({ chunk: 21 }))(rows);
  change(key.chunk(20), { garbage: true, refs: 0 })(rows);
  put(key.garbage(20), GarbageRow.fromPartial({ chunk: 20, deleting: true, nodes: [1] }))(rows);
  const at = bench(rows);
  const { left, outcomes } = await repair(at);
  t.same([...new Set(left.map(({ chunk }) => chunk))], [20]);
  t.ok(outcomes.some((outcome) => /nothing was done: nodes have been told/.test(outcome)));
  const { value } = await at.executor.execute(0, (tx) => [tx.get(key.garbage(22)), tx.get(key.garbage(21))] as const);
  t.match(value[0], { since: 10, deleting: false });
  t.equal(value[1], undefined);
});

test("an inode without a name is handed to the reaper; one whose name is lost is not removed", async (t) => {
  const rows = good();
  remove(key.orphan(8))(rows);
  remove(key.entry(1, "second" as never))(rows);
  remove(key.cookie(1, 4))(rows);
  remove(key.entry(5, "f" as never))(rows);
  remove(key.cookie(5, 3))(rows);
  const at = bench(rows);
  const { left } = await repair(at);
  t.same(at.reaped, [8]);
  t.equal(left.length, 1);
  t.match(left, [{ check: "names", inos: [7], refusal: /nothing is removed because its name is lost/ }]);
  t.ok((await at.executor.execute(0, (tx) => tx.get(key.inode(7)))).value);
});

test("an inode that names lead to is not removed because it counts none", async (t) => {
  const rows = good();
  change(key.inode(7), { nlink: 0 })(rows);
  const at = bench(rows);
  const [names, orphan, ...others] = await at.find();
  t.match(
    [names, orphan],
    [
      { check: "names", mend: Object },
      { check: "orphan", refusal: /entries name it/ },
    ],
  );
  t.same(others, []);
  t.same([(await repair(at)).left, at.reaped], [[], []]);
});

test("what has changed since it was found is left alone", async (t) => {
  const rows = good();
  change(key.inode(5), { children: 7 })(rows);
  change(key.chunk(20), { refs: 7 })(rows);
  const at = bench(rows);
  const found = await at.find();
  await at.executor.execute(0, (tx) => {
    tx.put(key.inode(5), { ...tx.get(key.inode(5))!, children: 8 });
    tx.put(key.chunk(20), { ...tx.get(key.chunk(20))!, refs: 8 });
  });
  for (const finding of found) t.match(await at.mender.mend(finding), { mended: false, outcome: /changed meanwhile/ });
  const { value } = await at.executor.execute(0, (tx) => [tx.get(key.inode(5))?.children, tx.get(key.chunk(20))?.refs]);
  t.same(value, [8, 8]);
});

test("garbage whose replacement has lost all its copies is told, with the file, until that can be read again", async (t) => {
  const rows = good();
  change(key.garbage(22), { ino: 7, version: 4 })(rows);
  put(key.unsynced(7), UnsyncedRow.fromPartial({ chunks: [20, 21], versions: [4, 5] }))(rows);
  const told = async () => (await bench(rows).find()).map(({ check, chunk }) => `${check} ${chunk}`);
  t.same(await told(), []);
  change(key.chunk(21), { replicas: [] })(rows);
  t.same(await told(), ["lost 21"], "of a later version: it holds up nothing");
  change(key.chunk(21), { replicas: [{ node: 1, state: ReplicaState.AVAILABLE, synced: true, since: 0 }] })(rows);
  change(key.chunk(20), { replicas: [] })(rows);
  t.same(await told(), ["lost 20", "kept 22"]);
  const kept = (await bench(rows).find()).at(-1);
  t.match(kept, { inos: [7], what: /chunk 20 instead/, refusal: /write the file anew/ });
});

test("there is one repair at a time", (t) => {
  const { mender } = bench(good());
  const end = mender.begin();
  t.throws(() => mender.begin(), { message: /^EBUSY/ });
  end();
  mender.begin();
  t.end();
});
