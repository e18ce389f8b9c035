import { test } from "tap";
import type { ExecuteOptions } from "../../../../daemon/meta/executor.js";
import { key, type Key } from "../../../../daemon/meta/keys.js";
import { MemoryStore } from "../../../../daemon/meta/memory-store.js";
import { onlyDeletionsWhen } from "../../../../daemon/meta/space.js";
import { FsError } from "../../../../proto/errno.js";
import { EntryRow, SlotRow, XattrsRow } from "../../../../proto/gen/bigfs/v1/rows.js";
import { LIMITS } from "../../../../proto/limits.js";
import type { Name } from "../../../../proto/name.js";
import { cell, executorOver, Gates, numbers, rejects, setNumbers, stateOf, storeWith, Watched } from "./lab.js";

test("nothing stays of a rule that refuses or breaks, and a broken one is logged with its input", async (t) => {
  const { executor, log } = executorOver(storeWith({ 1: [1] }));
  const refuse = executor.execute(1, (tx) => {
    setNumbers(tx, 1, [2]);
    throw new FsError("EACCES");
  });
  await rejects(t, refuse, "EACCES");
  t.equal(log.length, 0);
  const breaks = executor.execute(
    1,
    (tx) => {
      setNumbers(tx, 1, [3]);
      throw new TypeError("oops");
    },
    { input: { op: "poison" } },
  );
  await rejects(t, breaks, "EIO");
  t.equal(log.length, 1);
  t.match(JSON.parse(log[0] ?? ""), { session: 1, input: { op: "poison" }, err: { message: "oops", stack: /oops/ } });
  t.match(await executor.execute(2, (tx) => numbers(tx, 1)), { value: [1], order: 1 });
});

test("a row that cannot be stored fails its own operation and nothing else (D40)", async (t) => {
  const { executor } = executorOver(storeWith({}));
  const bad = executor.execute(1, (tx) => {
    setNumbers(tx, 1, [1]);
    setNumbers(tx, 2, [-1.5]);
  });
  await rejects(t, bad, "EIO");
  await executor.execute(1, (tx) => setNumbers(tx, 3, [3]));
  await executor.drained();
  t.match(await executor.execute(2, (tx) => [numbers(tx, 1), numbers(tx, 3)]), { value: [undefined, [3]] });
});

test("an operation changes as many rows as the limit says and no more", async (t) => {
  const { executor } = executorOver(storeWith({}));
  const change = (count: number) => executor.execute(1, (tx) => fill(tx, count));
  const fill = (tx: Parameters<Parameters<typeof executor.execute>[1]>[0], count: number) => {
    for (let n = 1; n <= count; n++) setNumbers(tx, n, [n]);
  };
  t.equal((await change(LIMITS.rowsPerOperation)).changed.length, LIMITS.rowsPerOperation);
  await rejects(t, change(LIMITS.rowsPerOperation + 1), "EIO");
});

test("rows that operations of one turn need are loaded together, and each of them once", async (t) => {
  const store = new Watched(storeWith({ 1: [1], 2: [2], 3: [3] }));
  const { executor } = executorOver(store);
  const read = (n: number) => executor.execute(n, (tx) => numbers(tx, n));
  const answers = await Promise.all([read(1), read(2), read(2), read(3), read(9)]);
  t.same(
    answers.map(({ value }) => value),
    [[1], [2], [2], [3], undefined],
  );
  t.same(store.loads, [[cell(1), cell(2), cell(3), cell(9)]]);
  await read(9);
  t.equal(store.loads.length, 1, "that a row is absent is remembered");
});

test("hinted and preloaded rows cost one load, whatever the size of the cache", async (t) => {
  const cells = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [n + 1, [n + 1]]));
  const keys = Object.keys(cells).map((n) => cell(Number(n)));
  const store = new Watched(storeWith(cells));
  const { executor } = executorOver(store, { cacheBytes: 1 });
  const sum = (get: (at: Key<"U">) => number) => keys.reduce((total, at) => total + get(at), 0);
  const hinted = await executor.execute(1, (tx) => sum((at) => tx.get(at)?.chunks[0] ?? 0), { hint: keys });
  t.equal(hinted.value, 1275);
  t.equal(store.loads.length, 1);
  const preloaded = await executor.execute(1, (tx) => {
    tx.preload?.(keys);
    return sum((at) => tx.get(at)?.chunks[0] ?? 0);
  });
  t.equal(preloaded.value, 1275);
  t.equal(store.loads.length, 2);
  t.ok(executor.rows.cached <= 1, "the pins were let go");
});

test("a row changed while its load is on the way stays as changed, also when the cache let go of it", async (t) => {
  const gates = new Gates();
  const { executor } = executorOver(storeWith({ 1: [1], 2: [2] }, { gate: gates.gate }), { cacheBytes: 1 });
  gates.close("after load");
  const reading = executor.execute(1, (tx) => numbers(tx, 1));
  t.equal(await stateOf(reading), "waiting");
  await executor.execute(1, (tx) => setNumbers(tx, 1, [7]));
  await executor.drained();
  await executor.execute(1, (tx) => setNumbers(tx, 5, [5]));
  await executor.drained();
  gates.open("after load");
  t.match(await reading, { value: [7] });
  t.match(await executor.execute(2, (tx) => numbers(tx, 1)), { value: [7] });
});

test("a damaged row fails the operations that need it, not those that were loaded with it", async (t) => {
  const store = new MemoryStore({}, [[cell(1), Buffer.from([0xff, 0xff, 0xff])]]);
  const { executor } = executorOver(store);
  const bad = executor.execute(1, (tx) => numbers(tx, 1));
  const good = executor.execute(1, (tx) => numbers(tx, 2));
  await rejects(t, bad, "EIO");
  t.match(await good, { value: undefined });
});

test("a failed read fails the operation; the next try reads again", async (t) => {
  let failures = 1;
  const gate = (call: string) => {
    if (call === "load" && failures-- > 0) throw new Error("disk");
  };
  const { executor } = executorOver(storeWith({ 1: [1] }, { gate }));
  await rejects(
    t,
    executor.execute(1, (tx) => numbers(tx, 1)),
    "EIO",
  );
  t.match(await executor.execute(1, (tx) => numbers(tx, 1)), { value: [1] });
});

test("many changes of one row while a batch is written become one write, and batches follow each other", async (t) => {
  const gates = new Gates();
  const store = new Watched(storeWith({}, { gate: gates.gate }));
  const { executor } = executorOver(store);
  const durable: number[] = [];
  executor.onDurable((batch) => durable.push(batch));
  gates.close("before commit");
  for (let i = 0; i < 5; i++) await executor.execute(1, (tx) => setNumbers(tx, 1, [i]));
  await stateOf(executor.whenDurable(1));
  for (let i = 0; i < 5; i++) {
    const { batch } = await executor.execute(1, (tx) => (i % 2 === 0 ? setNumbers(tx, 1, [i]) : tx.del(cell(1))));
    t.equal(batch, 2);
  }
  t.equal(executor.durable, 0);
  gates.open("before commit");
  await executor.whenDurable(2);
  t.same(store.commits, [[cell(1)], [cell(1)]]);
  t.same(durable, [1, 2]);
});

test("a batch gathers for a while unless somebody waits for it", async (t) => {
  const store = new Watched(storeWith({}));
  const timers: (() => void)[] = [];
  const { executor } = executorOver(store, { later: (start) => void timers.push(start), dirtyRows: 3 });
  const set = (n: number, session = 1) => executor.execute(session, (tx) => setNumbers(tx, n, [n]));
  await set(1);
  await set(2);
  await stateOf(executor.execute(1, (tx) => numbers(tx, 1)));
  t.same(store.commits, [], "it gathers, and its own session reads what it did");
  timers[0]?.();
  await stateOf(Promise.resolve());
  t.same(store.commits, [[cell(1), cell(2)]], "its time is over");

  await executor.whenDurable((await set(3)).batch);
  await set(4);
  await executor.drained();
  await set(5);
  t.match(await executor.execute(2, (tx) => numbers(tx, 5)), { value: [5] }, "another session waits for it");
  t.equal(store.commits.length, 4);
  await Promise.all([set(6), set(7), set(8), set(9)]);
  t.equal(store.commits.length, 5, "there is no room for more");

  t.equal(timers.length, 6, "one timer for each batch");
  for (const start of timers.slice(0, 5)) start();
  await stateOf(Promise.resolve());
  t.equal(store.commits.length, 5, "the timer of a batch that was written starts no other");
});

test("what is wanted while a batch is written follows it at once, the rest gathers", async (t) => {
  const gates = new Gates();
  const store = new Watched(storeWith({}, { gate: gates.gate }));
  const { executor } = executorOver(store, { later: () => undefined });
  const set = (n: number) => executor.execute(1, (tx) => setNumbers(tx, n, [n]));
  gates.close("before commit");
  const first = executor.whenDurable((await set(1)).batch);
  await stateOf(first);
  const second = executor.whenDurable((await set(2)).batch);
  gates.open("before commit");
  await Promise.all([first, second]);
  await set(3);
  await stateOf(Promise.resolve());
  t.same(store.commits, [[cell(1)], [cell(2)]]);
});

test("operations wait while too many changed rows are not durable", async (t) => {
  const gates = new Gates();
  const { executor } = executorOver(storeWith({}, { gate: gates.gate }), { dirtyRows: 3 });
  gates.close("before commit");
  const writes = Array.from({ length: 9 }, (_, n) => executor.execute(1, (tx) => setNumbers(tx, n + 1, [n])));
  t.same(await Promise.all(writes.slice(0, 3).map(stateOf)), ["resolved", "resolved", "resolved"]);
  t.equal(await stateOf(Promise.race(writes.slice(3))), "waiting");
  t.equal(executor.rows.dirty, 3);
  gates.open("before commit");
  await Promise.all(writes);
  await executor.drained();
  t.equal(executor.rows.dirty, 0);
});

test("operations wait while the changes that are not durable are too many bytes", async (t) => {
  const gates = new Gates();
  const { executor } = executorOver(storeWith({}, { gate: gates.gate }), { dirtyBytes: 3000 });
  gates.close("before commit");
  const large = Array.from({ length: 300 }, () => 2 ** 40);
  for (let i = 0; i < 3; i++) await executor.execute(1, (tx) => setNumbers(tx, 1, large));
  const second = executor.execute(1, (tx) => setNumbers(tx, 2, large));
  t.equal(await stateOf(second), "resolved", "a row that is written again counts once");
  const next = executor.execute(1, (tx) => numbers(tx, 1));
  t.equal(await stateOf(next), "waiting");
  gates.open("before commit");
  await next;
});

test("after a failed commit nothing is acknowledged any more (D15)", async (t) => {
  const gates = new Gates();
  let isBroken = false;
  const gate = async (call: string, when: string) => {
    await gates.gate(call, when);
    if (isBroken && call === "commit") throw new Error("disk is gone");
  };
  const { executor } = executorOver(storeWith({ 1: [1] }, { gate }));
  await executor.execute(1, (tx) => setNumbers(tx, 1, [2]));
  await executor.drained();
  isBroken = true;
  gates.close("before commit");
  const { batch } = await executor.execute(1, (tx) => setNumbers(tx, 1, [3]));
  const told = executor.whenDurable(batch);
  const other = executor.execute(2, (tx) => numbers(tx, 1));
  await stateOf(told);
  const next = executor.whenDurable((await executor.execute(1, (tx) => setNumbers(tx, 2, [3]))).batch);
  gates.open("before commit");
  await Promise.all([told, other.then(() => undefined), next].map((promise) => rejects(t, promise, "EIO")));
  t.match(await executor.failed, { message: "disk is gone" });
  await rejects(
    t,
    executor.execute(1, () => 1),
    "EIO",
  );
  await rejects(t, executor.list(1, { dir: 1, after: 0, limit: 1 }), "EIO");
  await rejects(t, executor.drained(), "EIO");
  await executor.whenDurable(batch - 1);
});

test("while space is low, what adds names or data is refused and deletions go on", async (t) => {
  let isLow = false;
  const { executor } = executorOver(storeWith({}), { admit: onlyDeletionsWhen(() => isLow) });
  const entry = (name: string) => key.entry(1, name as Name);
  const create = (name: string, opts: ExecuteOptions = {}) =>
    executor.execute(1, (tx) => tx.put(entry(name), EntryRow.fromPartial({ ino: 2 })), opts);
  await create("a");
  isLow = true;
  await create("told", { isAdmitted: true });
  await rejects(t, create("b"), "ENOSPC");
  t.match(await executor.execute(1, (tx) => tx.get(entry("b"))), { value: undefined });
  const renamed = executor.execute(1, (tx) => {
    tx.del(entry("a"));
    tx.put(entry("c"), EntryRow.fromPartial({ ino: 2 }));
  });
  await renamed;
  await executor.execute(0, (tx) => tx.put(key.usage, { inodes: 1, bytes: 0 }));
  await executor.execute(1, (tx) => tx.del(entry("c")));
  isLow = false;
  await create("b");
});

test("while space is low, what becomes smaller is no addition", async (t) => {
  let isLow = false;
  const { executor } = executorOver(storeWith({}), { admit: onlyDeletionsWhen(() => isLow) });
  const slot = (len: number) =>
    executor.execute(1, (tx) => tx.put(key.slot(5, 0), SlotRow.fromPartial({ slices: [{ pos: 0, len, chunk: 9 }] })));
  const xattrs = (...values: string[]) =>
    executor.execute(1, (tx) => {
      const list = values.map((value) => ({ name: Buffer.from(value), value: Buffer.from(value) }));
      tx.put(key.xattrs(5), XattrsRow.fromPartial({ xattrs: list }));
    });
  await slot(1000);
  await xattrs("a", "b");
  isLow = true;
  await slot(500);
  await xattrs("b");
  await rejects(t, slot(500), "ENOSPC");
  await rejects(t, slot(501), "ENOSPC");
  await rejects(t, xattrs("b", "c"), "ENOSPC");
});

test("deleting a row that is known to be absent changes nothing", async (t) => {
  const { executor } = executorOver(storeWith({}));
  await executor.execute(1, (tx) => numbers(tx, 1));
  t.match(await executor.execute(1, (tx) => tx.del(cell(1))), { batch: 0, changed: [] });
  const both = executor.execute(1, (tx) => {
    setNumbers(tx, 2, [2]);
    tx.del(cell(2));
  });
  t.match(await both, { batch: 1, changed: [cell(2)] }, "of this one it is not known");
  await executor.drained();
});

test("a load that outlives its operation brings nothing old back", async (t) => {
  const gates = new Gates();
  let loads = 0;
  const gate = async (call: string, when: string) => {
    if (call === "load" && when === "before" && ++loads === 1) throw new Error("disk");
    await gates.gate(call, when);
  };
  const { executor } = executorOver(storeWith({ 1025: [1] }, { gate }), { cacheBytes: 1 });
  gates.close("after load");
  const hint = Array.from({ length: 1025 }, (_, n) => cell(n + 1)); // two loads: the first fails, the second stands still
  await rejects(
    t,
    executor.execute(1, () => 0, { hint }),
    "EIO",
  );
  await executor.execute(1, (tx) => setNumbers(tx, 1025, [2]));
  await executor.drained();
  await executor.execute(1, (tx) => setNumbers(tx, 2000, [0]));
  await executor.drained();
  const read = executor.execute(2, (tx) => numbers(tx, 1025));
  await stateOf(read);
  gates.open("after load");
  t.match(await read, { value: [2] });
});
