import { test } from "tap";
import { key } from "../../../../daemon/meta/keys.js";
import { getattr, lookup } from "../../../../daemon/meta/rules/attributes.js";
import type { Context } from "../../../../daemon/meta/rules/context.js";
import { make } from "../../../../daemon/meta/rules/make.js";
import { rmdir, unlink } from "../../../../daemon/meta/rules/unlink.js";
import { createVolume } from "../../../../daemon/meta/rules/volume.js";
import { FsError } from "../../../../proto/errno.js";
import { InodeRow } from "../../../../proto/gen/bigfs/v1/rows.js";
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

test("sessions that work in one folder do not wait for each other, unless they are told that it is empty", async (t) => {
  const { executor, gates } = setUp();
  const ctx = (session: number, ino: number): Context => ({
    who: { uid: 0, gid: 0, groups: [], checked: true },
    now: { sec: 1, nsec: 0 },
    session,
    readOnly: false,
    freshIno: () => ino,
    isOpen: () => false,
    isLive: () => true,
    volume: { chunkSize: 65536, replicas: 1, minReplicas: 1 },
  });
  const at = (dir: number, name: string) => ({ dir, name: Buffer.from(name) });
  const mode = { rdev: 0, target: Buffer.alloc(0), open: false, exclusive: true, truncate: false, umask: 0, access: 0 };
  const create = (session: number, dir: number, name: string, ino: number, type = 0o100644) =>
    executor.execute(session, (tx) => make(tx, ctx(session, ino), { ...at(dir, name), ...mode, mode: type }));
  const remove = (session: number, dir: number, name: string) =>
    executor.execute(session, (tx) => unlink(tx, ctx(session, 0), at(dir, name)));
  gates.open("before commit");
  const made = { uuid: "", chunkSize: 65536, replicas: 1, minReplicas: 1, now: { sec: 0, nsec: 0 }, uid: 0, gid: 0 };
  await executor.execute(0, (tx) => createVolume(tx, made));
  await create(1, 1, "dir", 10, 0o40755);
  await create(1, 10, "old", 11);
  await executor.drained();
  gates.close("before commit");

  await create(1, 10, "a", 12);
  await create(1, 10, "sub", 13, 0o40755);
  t.equal(await stateOf(create(2, 10, "b", 14)), "resolved");
  t.equal(await stateOf(remove(2, 10, "old")), "resolved");
  t.equal(await stateOf(executor.execute(2, (tx) => getattr(tx, ctx(2, 0), { ino: 10 }))), "resolved");
  t.equal(await stateOf(executor.execute(3, (tx) => lookup(tx, ctx(3, 0), at(10, "a")))), "waiting", "a name holds");
  t.equal(await stateOf(create(2, 13, "c", 15)), "waiting", "and a new folder does");

  await remove(1, 10, "a");
  t.equal(await stateOf(executor.execute(1, (tx) => rmdir(tx, ctx(1, 0), at(10, "sub")))), "rejected", "it has c");
  gates.open("before commit");
  await executor.drained();
  gates.close("before commit");
  await remove(2, 13, "c");
  const emptied = executor.execute(1, (tx) => rmdir(tx, ctx(1, 0), at(10, "sub")));
  t.equal(await stateOf(emptied), "waiting", "that it is empty must not be undone");
  gates.open("before commit");
  await emptied;
});

test("rights of a folder hold others as anything else does", async (t) => {
  const { executor, gates } = setUp();
  const folder = InodeRow.fromPartial({ ino: 9, mode: 0o40755, nlink: 2, children: 1 });
  await executor.execute(1, (tx) => tx.put(key.inode(9), folder));
  gates.open("before commit");
  await executor.drained();
  gates.close("before commit");
  const read = () => executor.execute(2, (tx) => tx.get(key.inode(9)));
  await executor.execute(1, (tx) => tx.put(key.inode(9), { ...folder, children: 2, nlink: 3 }));
  t.equal(await stateOf(read()), "resolved");
  await executor.execute(1, (tx) => tx.put(key.inode(9), { ...folder, mode: 0o40700 }));
  t.equal(await stateOf(read()), "waiting");
  gates.open("before commit");
});
