import { test } from "tap";
import { key } from "../../../../daemon/meta/keys.js";
import { settle, until } from "../../../helpers/fake-clock.js";
import { CHUNK, Lab, WHO, flags, name, pattern } from "./lab.js";

/** A promise and who resolves it. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

void test("a recall is answered after the kernel has given up what it caches, and says what is open", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const b = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.close(a, handle);
  await lab.end(a.vfs.open(WHO, ino, flags()));
  await lab.end(a.vfs.open(WHO, ino, flags()));
  const kernel = gate();
  a.kernel.gate = kernel.opened;
  await lab.lookup(b, "f");
  let isOver = false;
  const chmod = (async () => {
    await b.vfs.setattr(WHO, ino, { mode: 0o600 });
    isOver = true;
  })();
  await until(() => a.kernel.told.includes(`attributes ${ino}`));
  await settle(200);
  t.equal(isOver, false, "the change waits for it");
  t.equal((await lab.end(a.vfs.getattr(WHO, ino))).attr.mode & 0o777, 0o600, "nothing is answered from the cache");
  kernel.open();
  await lab.end(chmod);
  t.same(await a.vfs.recall({ number: 9, inodes: [{ ino, data: false }], entries: [] }), [
    { ino, count: 2, writers: 2 },
  ]);
});

void test("the kernel is not waited for when it may be waiting for an answer about that folder", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  await lab.end(a.vfs.getattr(WHO, 1));
  const answer = gate();
  a.kernel.gate = new Promise(() => {});
  a.meta.before = (op) => (op === "lookup" ? answer.opened : undefined);
  const lookup = a.vfs.lookup(WHO, 1, name("x"));
  const recalled = a.vfs.recall({ number: 1, inodes: [], entries: [{ dir: 1, name: Buffer.from("y") }] });
  t.same(await recalled, [], "answered although the kernel does not confirm");
  t.ok(a.kernel.told.includes("entry 1 y"));
  answer.open();
  await lab.end(lookup);
  const late = a.vfs.recall({ number: 2, inodes: [], entries: [{ dir: 1, name: Buffer.from("y") }] });
  const before = lab.clock.monotonicMs();
  t.same(await lab.end(late), []);
  t.ok(lab.clock.monotonicMs() - before < 10_000, "and never longer than the lease allows");
});

void test("two mounts that hold written data of one file recall each other without waiting in a circle", async (t) => {
  const lab = new Lab({ seed: 2 });
  const a = lab.mount();
  const b = lab.mount();
  const { ino, handle: ha } = await lab.create(a, "f");
  await lab.lookup(b, "f");
  const { handle: hb } = await lab.end(b.vfs.open(WHO, ino, flags()));
  await lab.write(a, ha, 0, pattern(CHUNK, 1));
  await lab.write(b, hb, CHUNK, pattern(CHUNK, 2));
  await lab.write(a, ha, 2 * CHUNK, pattern(100, 3));
  await lab.write(b, hb, 3 * CHUNK, pattern(100, 4));
  const before = lab.clock.monotonicMs();
  await lab.end(Promise.all([a.vfs.fsync(ha), b.vfs.fsync(hb)]).then(() => undefined));
  t.ok(lab.clock.monotonicMs() - before < 1000, "nobody ran into a deadline");
  const data = await lab.content(a, ino);
  t.same(data.subarray(0, 2 * CHUNK + 100), Buffer.concat([pattern(CHUNK, 1), pattern(CHUNK, 2), pattern(100, 3)]));
  t.same(data.subarray(3 * CHUNK), pattern(100, 4));
});

void test("after the lease nothing is answered from a cache, and the kernel is told to keep nothing", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.close(a, handle);
  await lab.lookup(a, "f");
  a.meta.leaseMs = 4000;
  t.equal((await lab.end(a.vfs.lookup(WHO, 1, name("f")))).entryMs, 4000, "no longer than the lease lasts");
  const calls = a.meta.calls.get("getattr") ?? 0;
  t.equal((await lab.end(a.vfs.getattr(WHO, ino))).attrMs, 4000);
  t.equal(a.meta.calls.get("getattr") ?? 0, calls, "from the cache");
  a.meta.leaseMs = 0;
  t.equal((await lab.end(a.vfs.getattr(WHO, ino))).attrMs, 0);
  t.equal(a.meta.calls.get("getattr"), calls + 1, "asked");
  t.equal((await lab.end(a.vfs.lookup(WHO, 1, name("f")))).entryMs, 0);
});

void test("a fenced mount gives EIO once where written data is lost, and goes on elsewhere", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const clean = await lab.create(a, "clean");
  await lab.write(a, clean.handle, 0, pattern(1000, 1));
  await lab.end(a.vfs.fsync(clean.handle));
  const dirty = await lab.create(a, "dirty");
  const other = await lab.end(a.vfs.open(WHO, dirty.ino, flags()));
  await lab.write(a, dirty.handle, 0, pattern(1000, 2));
  a.vfs.fenced(false);
  t.ok(a.kernel.told.includes("all entries"));
  t.ok(a.kernel.told.includes(`data ${dirty.ino}`));
  t.equal(await lab.errno(() => a.vfs.write(dirty.handle, 0, Buffer.from("x"))), "EIO");
  t.equal(await lab.errno(() => a.vfs.flush(dirty.handle)), "");
  t.equal(await lab.errno(() => a.vfs.fsync(other.handle)), "EIO");
  t.same(a.vfs.openFiles(), [
    { ino: clean.ino, count: 1, writers: 1 },
    { ino: dirty.ino, count: 2, writers: 2 },
  ]);
  t.same(Buffer.from(await lab.end(a.vfs.read(clean.handle, 0, 5000))), pattern(1000, 1));
  await lab.write(a, clean.handle, 1000, pattern(10, 3));
  t.equal(await lab.errno(() => a.vfs.flush(clean.handle)), "");
  t.equal((await lab.content(a, dirty.ino)).length, 0);
});

void test("a write that waits while what was written before is lost is refused, and leaves no hole", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(1000, 1));
  const asked = gate();
  a.meta.before = (op) => (op === "getattr" ? asked.opened : undefined);
  a.meta.leaseMs = 0;
  const written = lab.errno(() => a.vfs.write(handle, 1000, pattern(500, 2)));
  a.vfs.fenced(false);
  asked.open();
  t.equal(await written, "EIO");
  t.equal(await lab.errno(() => a.vfs.flush(handle)), "", "told once");
  t.equal((await lab.content(a, ino)).length, 0);
});

void test("changes that were lost with a session are told once to every handle that syncs or writes", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(1000, 1));
  const dir = await lab.end(a.vfs.opendir(WHO, 1));
  a.vfs.fenced(true);
  const late = await lab.end(a.vfs.open(WHO, ino, flags()));
  for (const each of [handle, late.handle]) {
    t.equal(await lab.errno(() => a.vfs.fsync(each)), "EIO");
    t.equal(await lab.errno(() => a.vfs.fsync(each)), "");
  }
  const lateDir = await lab.end(a.vfs.opendir(WHO, 1));
  for (const each of [dir, lateDir]) {
    t.equal(await lab.errno(() => a.vfs.fsyncdir(each.handle)), "EIO");
    t.equal(await lab.errno(() => a.vfs.fsyncdir(each.handle)), "");
  }
  a.vfs.fenced(false);
  t.equal(await lab.errno(() => a.vfs.fsyncdir(dir.handle)), "");
  t.equal(await lab.errno(() => a.vfs.fsync(handle)), "");
});

void test("after a fence the daemon is believed, also where it has gone back to an earlier version", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino } = await lab.create(a, "f");
  const before = lab.cluster.inode(ino);
  if (before === undefined) throw new Error("not created");
  await lab.end(a.vfs.setattr(WHO, ino, { mode: 0o600 }));
  t.equal((await lab.end(a.vfs.getattr(WHO, ino))).attr.mode & 0o777, 0o600);
  // The change was not durable when the daemon died, and this mount came back too late to repeat it.
  lab.cluster.rows.run((tx) => tx.put(key.inode(ino), before));
  a.vfs.fenced(false);
  t.equal((await lab.end(a.vfs.getattr(WHO, ino))).attr.mode, before.mode);
});

void test("after a restart of the daemon a folder is believed, also where changes of others were lost", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const { attr } = await lab.end(a.vfs.mkdir(WHO, 1, name("d"), 0o755, 0));
  const ino = attr?.ino ?? 0;
  const before = lab.cluster.inode(ino);
  if (before === undefined) throw new Error("not made");
  await lab.lookup(b, "d");
  for (const each of ["x", "y"]) await lab.end(b.vfs.mknod(WHO, ino, name(each), 0o644, 0, 0));
  t.not((await lab.end(a.vfs.getattr(WHO, ino))).attr.version, before.version);
  // Times and counters are shown before they are durable. Then the daemon died, and the other mount with it.
  lab.cluster.rows.run((tx) => tx.put(key.inode(ino), { ...before, mode: 0o40700, version: before.version + 1 }));
  await a.vfs.uncached();
  t.equal((await lab.end(a.vfs.getattr(WHO, ino))).attr.mode, 0o40700);
});

void test("a file whose truncation was lost with a fence can be read on", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(1000, 1));
  await lab.end(a.vfs.fsync(handle));
  const before = lab.cluster.inode(ino);
  if (before === undefined) throw new Error("not created");
  await lab.end(a.vfs.setattr(WHO, ino, { size: 1200 }));
  lab.cluster.rows.run((tx) => tx.put(key.inode(ino), before));
  a.vfs.fenced(false);
  t.same(Buffer.from(await lab.end(a.vfs.read(handle, 0, 5000))), pattern(1000, 1));
});

void test("when every cache is void, what was written here stays, and the kernel is told of all it may know", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(3000, 1));
  a.kernel.dropAllEntries = () => false;
  const calls = a.meta.calls.get("lookup") ?? 0;
  await lab.lookup(a, "f");
  t.equal(a.meta.calls.get("lookup") ?? 0, calls, "from the cache");
  await a.vfs.uncached();
  t.ok(a.kernel.told.includes("entry 1 f"));
  t.ok(a.kernel.told.includes(`data ${ino}`));
  await lab.lookup(a, "f");
  t.equal(a.meta.calls.get("lookup"), calls + 1);
  t.same(Buffer.from(await lab.end(a.vfs.read(handle, 0, 5000))), pattern(3000, 1));
  t.equal(await lab.errno(() => a.vfs.flush(handle)), "");
});

void test("a change that could not be repeated is told once to every open file, and to who syncs a folder", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { handle } = await lab.create(a, "f");
  const { handle: dir } = await lab.end(a.vfs.opendir(WHO, 1));
  a.vfs.lost();
  t.equal(await lab.errno(() => a.vfs.fsync(handle)), "EIO");
  t.equal(await lab.errno(() => a.vfs.fsync(handle)), "");
  t.equal(await lab.errno(() => a.vfs.fsyncdir(dir)), "EIO");
  t.equal(await lab.errno(() => a.vfs.fsyncdir(dir)), "");
});
