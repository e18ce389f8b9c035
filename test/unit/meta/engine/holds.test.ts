import { test } from "tap";
import { key } from "../../../../daemon/meta/keys.js";
import { FsError } from "../../../../proto/errno.js";
import { cell, executorOver, Gates, numbers, rejects, setNumbers, stateOf, storeWith } from "./lab.js";

function setUp() {
  const gates = new Gates();
  const { executor } = executorOver(storeWith({ 1: [1], 2: [2] }, { gate: gates.gate }));
  gates.close("before commit");
  return { executor, gates };
}

test("a session sees its own undurable change at once; another is told when it is durable", async (t) => {
  const { executor, gates } = setUp();
  const made = await executor.execute(1, (tx) => setNumbers(tx, 1, [7]));
  t.match(made, { batch: 1, order: 1, changed: [cell(1)] });
  const own = await executor.execute(1, (tx) => numbers(tx, 1));
  t.match(own, { value: [7], batch: 0, order: 2, changed: [] });
  let ranAs: unknown;
  const other = executor.execute(2, (tx) => (ranAs = numbers(tx, 1)));
  t.same(ranAs, [7], "it runs at once");
  t.equal(await stateOf(other), "waiting", "but is told later");
  t.equal(await stateOf(executor.execute(2, (tx) => numbers(tx, 2))), "resolved", "other rows hold nobody");
  gates.open("before commit");
  t.match(await other, { value: [7] });
  t.equal(executor.durable, 1);
});

test("a refusal that rests on an undurable change of another session waits like an answer", async (t) => {
  const { executor, gates } = setUp();
  await executor.execute(1, (tx) => tx.del(cell(1)));
  const refused = executor.execute(2, (tx) => {
    if (numbers(tx, 1) === undefined) throw new FsError("ENOENT");
  });
  t.equal(await stateOf(refused), "waiting");
  gates.open("before commit");
  await rejects(t, refused, "ENOENT");
});

test("writing over another session's undurable change without reading it waits too", async (t) => {
  const { executor, gates } = setUp();
  await executor.execute(1, (tx) => setNumbers(tx, 1, [7]));
  const over = executor.execute(2, (tx) => setNumbers(tx, 1, [8]));
  t.equal(await stateOf(over), "waiting");
  gates.open("before commit");
  await over;
});

test("a row that two sessions changed in two batches holds each for the other's", async (t) => {
  const { executor, gates } = setUp();
  await executor.execute(1, (tx) => setNumbers(tx, 1, [7]));
  await stateOf(executor.whenDurable(1)); // the first batch is being committed now
  const second = executor.execute(2, (tx) => setNumbers(tx, 1, [8]));
  const byFirst = executor.execute(1, (tx) => numbers(tx, 1));
  const byThird = executor.execute(3, (tx) => numbers(tx, 1));
  gates.close("after commit");
  gates.open("before commit");
  t.equal(await stateOf(second), "waiting");
  gates.close("before commit");
  gates.open("after commit");
  t.match(await second, { batch: 2 }, "the second session waited for the first batch only");
  t.equal(await stateOf(byFirst), "waiting");
  t.equal(await stateOf(byThird), "waiting");
  t.equal(await stateOf(executor.execute(2, (tx) => numbers(tx, 1))), "resolved");
  gates.open("before commit");
  t.match(await byFirst, { value: [8] });
  t.match(await byThird, { value: [8] });
});

test("the daemon's changes hold nobody, but do not hide a session's change to the same row", async (t) => {
  const { executor, gates } = setUp();
  await executor.execute(0, (tx) => setNumbers(tx, 1, [7]));
  t.equal(await stateOf(executor.execute(2, (tx) => numbers(tx, 1))), "resolved");
  await executor.execute(1, (tx) => setNumbers(tx, 2, [8]));
  const daemon = executor.execute(0, (tx) => setNumbers(tx, 2, [9]));
  const other = executor.execute(2, (tx) => numbers(tx, 2));
  t.equal(await stateOf(other), "waiting");
  t.equal(await stateOf(daemon), "waiting", "the daemon itself is told nothing undurable of a session");
  gates.open("before commit");
  await Promise.all([other, daemon]);
});

test("the volume's usage holds nobody", async (t) => {
  const { executor, gates } = setUp();
  await executor.execute(1, (tx) => tx.put(key.usage, { inodes: 1, bytes: 1 }));
  t.equal(await stateOf(executor.execute(2, (tx) => tx.get(key.usage))), "resolved");
  t.equal(await stateOf(executor.execute(2, (tx) => tx.put(key.usage, { inodes: 2, bytes: 2 }))), "resolved");
  gates.open("before commit");
  await executor.drained();
});
