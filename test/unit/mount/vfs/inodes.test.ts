import { test } from "tap";
import { settle } from "../../../helpers/fake-clock.js";
import { FsError } from "../../../../proto/errno.js";
import { key } from "../../../../daemon/meta/keys.js";
import { Lab, WHO, flags, name } from "./lab.js";

void test("an inode goes when the kernel has given back every reference, not before, and the daemon is told", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.lookup(a, "f");
  await lab.end(a.vfs.link(WHO, ino, 1, name("g")));
  a.vfs.forget(ino, 2);
  await lab.clock.advance(5000);
  t.same(a.meta.forgotten, [], "one reference is left");
  a.vfs.forget(ino, 1);
  await lab.clock.advance(5000);
  t.same(a.meta.forgotten, [], "it is open");
  t.same(a.vfs.openFiles(), [{ ino, count: 1, writers: 1 }]);
  await lab.close(a, handle);
  await lab.clock.advance(5000);
  t.same(a.meta.forgotten, [ino]);
  t.same(a.vfs.openFiles(), []);
});

void test("an answer that is under way when its inode is disclaimed is not kept", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const b = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.close(a, handle);
  a.vfs.forget(ino, 1);
  // The lookup is answered under the lease that the disclaimer then ends.
  a.meta.after = async (op) => {
    if (op !== "lookup") return;
    await lab.clock.advance(2000);
  };
  await lab.lookup(a, "f");
  a.meta.after = () => {};
  t.same(a.meta.forgotten, [ino]);
  t.notOk(a.meta.leases.has(key.inode(ino)));
  await lab.lookup(b, "f");
  await lab.end(b.vfs.setattr(WHO, ino, { mode: 0o600 }));
  t.equal((await lab.end(a.vfs.getattr(WHO, ino))).attr.mode & 0o777, 0o600);
});

void test("an unlinked file lives as long as it is open here, and its data can be stored", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, Buffer.from("still here"));
  await lab.end(a.vfs.unlink(WHO, 1, name("f")));
  a.vfs.forget(ino, 1);
  t.equal((await lab.end(a.vfs.getattr(WHO, ino))).attr.nlink, 0);
  await lab.end(a.vfs.fsync(handle));
  t.equal(Buffer.from(await lab.end(a.vfs.read(handle, 0, 100))).toString(), "still here");
  await lab.close(a, handle);
  await settle(20);
  t.equal(lab.cluster.inode(ino), undefined);
});

void test("the kernel may keep its pages of a file while nobody else changes it", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const b = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  const reopen = async (): Promise<boolean> => {
    const opened = await lab.end(a.vfs.open(WHO, ino, flags()));
    await lab.close(a, opened.handle);
    return opened.keepCache;
  };
  await lab.write(a, handle, 0, Buffer.alloc(10_000, 1));
  await lab.close(a, handle);
  t.equal(await reopen(), true, "own writes are in them");
  await lab.end(a.vfs.setattr(WHO, ino, { mode: 0o600 }));
  t.equal(await reopen(), true, "attributes are not in them");
  await lab.end(a.vfs.setattr(WHO, ino, { size: 5000 }));
  t.equal(await reopen(), true, "the kernel has cut them itself");
  await lab.lookup(b, "f");
  const { handle: there } = await lab.end(b.vfs.open(WHO, ino, flags()));
  await lab.write(b, there, 0, Buffer.alloc(100, 2));
  await lab.close(b, there);
  t.ok(a.kernel.told.includes(`data ${ino}`));
  t.equal(await reopen(), false, "somebody else wrote");
  t.equal(await reopen(), true);
});

void test("a change by another mount while nothing may be cached is noticed at the next open", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const b = lab.mount();
  a.meta.uncached = true;
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, Buffer.alloc(10_000, 1));
  await lab.close(a, handle);
  await lab.lookup(b, "f");
  const { handle: there } = await lab.end(b.vfs.open(WHO, ino, flags()));
  await lab.write(b, there, 0, Buffer.alloc(100, 2));
  await lab.close(b, there);
  t.same(a.kernel.told, [], "nobody said so");
  // An own write in between must not make the old pages look right.
  await lab.end(a.vfs.setattr(WHO, ino, { mode: 0o600 }));
  const opened = await lab.end(a.vfs.open(WHO, ino, flags()));
  t.equal(opened.keepCache, false);
  t.same((await lab.content(a, ino)).subarray(0, 100), Buffer.alloc(100, 2));
});

void test("a read-only mount changes nothing", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.close(a, handle);
  const b = lab.mount({ readOnly: true });
  await lab.lookup(b, "f");
  const { vfs } = b;
  const create = { ...flags(), exclusive: false };
  const move = { fromDir: 1, fromName: name("f"), intoDir: 1, intoName: name("g"), noReplace: false, exchange: false };
  const attempts = {
    open: () => vfs.open(WHO, ino, flags()),
    create: () => vfs.create(WHO, 1, name("x"), 0o644, 0, create),
    setattr: () => vfs.setattr(WHO, ino, { mode: 0o600 }),
    mknod: () => vfs.mknod(WHO, 1, name("x"), 0o644, 0, 0),
    mkdir: () => vfs.mkdir(WHO, 1, name("x"), 0o755, 0),
    symlink: () => vfs.symlink(WHO, 1, name("x"), Buffer.from("y")),
    link: () => vfs.link(WHO, ino, 1, name("g")),
    unlink: () => vfs.unlink(WHO, 1, name("f")),
    rmdir: () => vfs.rmdir(WHO, 1, name("f")),
    rename: () => vfs.rename(WHO, move),
    setxattr: () =>
      vfs.setxattr(WHO, ino, { name: name("user.x"), value: Buffer.from("y"), flags: 0, killSgid: false }),
    removexattr: () => vfs.removexattr(WHO, ino, name("user.x")),
  };
  for (const [what, attempt] of Object.entries(attempts)) t.equal(await lab.errno(attempt), "EROFS", what);
  t.equal(await lab.errno(() => vfs.open(WHO, ino, flags({ write: false }))), "");
});

void test("after an own change of names nothing is asked about the folders and the node that it concerned", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { vfs, meta } = a;
  const sub = (await lab.end(vfs.mkdir(WHO, 1, name("sub"), 0o755, 0))).attr?.ino ?? 0;
  await lab.lookup(a, "none");
  await lab.end(vfs.getattr(WHO, 1));
  meta.calls.clear();
  const { ino, handle } = await lab.create(a, "f");
  await lab.close(a, handle);
  const unchanged = async (): Promise<void> => {
    for (const at of [1, sub, ino]) {
      const { attr, attrMs } = await lab.end(vfs.getattr(WHO, at));
      const row = lab.cluster.inode(at);
      t.match(attr, { nlink: row?.nlink, version: row?.version, ctime: row?.ctime });
      t.ok(attrMs > 0);
    }
  };
  await unchanged();
  await lab.end(vfs.link(WHO, ino, sub, name("g")));
  await unchanged();
  await lab.end(vfs.lookup(WHO, sub, name("h")));
  const names = { fromDir: 1, fromName: name("f"), intoDir: sub, intoName: name("h") };
  await lab.end(vfs.rename(WHO, { ...names, noReplace: true, exchange: false }));
  await unchanged();
  await lab.end(vfs.unlink(WHO, sub, name("h")));
  await unchanged();
  t.same([...meta.calls.keys()].sort(), ["link", "make", "rename", "unlink"]);
});

void test("a folder that several mounts change is shown for a moment, and never cached", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { vfs, meta } = a;
  const root = () => lab.end(vfs.getattr(WHO, 1));
  meta.uncached = true;
  meta.sharedFolderMs = 5;
  const asked = (): number => meta.calls.get("getattr") ?? 0;
  await root();
  t.match(await root(), { attr: { nlink: 2 }, attrMs: 0 });
  t.equal(asked(), 1);
  await lab.end(vfs.mkdir(WHO, 1, name("sub"), 0o755, 0));
  t.match((await root()).attr, { nlink: 3 }, "what this mount did itself");
  t.equal(asked(), 1);
  await lab.clock.advance(6);
  await root();
  t.equal(asked(), 2);
  await lab.end(vfs.setattr(WHO, 1, { mode: 0o700 }));
  t.match((await root()).attr, { mode: 0o40700 });
  await lab.clock.advance(6);
  meta.sharedFolderMs = 60_000;
  for (const [expected, why] of [
    [3, "the five milliseconds are over"],
    [4, "after an error nothing is known"],
  ] as const) {
    await root();
    await root();
    t.equal(asked(), expected, why);
    await lab.end(vfs.lookup(WHO, 1, name("none")));
    await lab.errno(() => vfs.rmdir(WHO, 1, name("none")));
  }
});

void test("a change of names by somebody else between an own one and its answer is seen", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const b = lab.mount();
  await lab.end(a.vfs.getattr(WHO, 1));
  a.meta.after = async (op) => {
    if (op === "make") await lab.end(b.vfs.setattr(WHO, 1, { mode: 0o700 }));
  };
  await lab.end(a.vfs.mkdir(WHO, 1, name("sub"), 0o755, 0));
  t.match((await lab.end(a.vfs.getattr(WHO, 1))).attr, { mode: 0o40700, nlink: 3 });
});

void test("a new file is not asked for its extended attributes, and one that gets some is", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const b = lab.mount();
  const { ino } = await lab.create(a, "f");
  t.same(await lab.end(a.vfs.listxattr(WHO, ino)), []);
  t.equal(a.meta.calls.get("getxattrs"), undefined);
  await lab.lookup(b, "f");
  await lab.end(b.vfs.setxattr(WHO, ino, { name: name("user.x"), value: Buffer.from("1"), flags: 0, killSgid: false }));
  t.match(await lab.end(a.vfs.listxattr(WHO, ino)), [{ value: Buffer.from("1") }]);
});

void test("in a folder that was made here, names that do not exist are not asked for", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { vfs, meta } = a;
  const dir = (await lab.end(vfs.mkdir(WHO, 1, name("dir"), 0o755, 0))).attr?.ino ?? 0;
  const there = async (text: string, mount = a) =>
    (await lab.end(mount.vfs.lookup(WHO, dir, name(text)))).attr !== undefined;
  const create = (text: string) => lab.end(vfs.create(WHO, dir, name(text), 0o644, 0, { ...flags(), exclusive: true }));
  const move = (fromName: string, intoName: string) =>
    lab.end(
      vfs.rename(WHO, {
        fromDir: dir,
        fromName: name(fromName),
        intoDir: dir,
        intoName: name(intoName),
        noReplace: false,
        exchange: false,
      }),
    );
  t.notOk(await there("f"));
  const { handle } = await create("f");
  await lab.close(a, handle);
  t.notOk(await there("g"));
  await move("f", "g");
  t.same([await there("f"), await there("h")], [false, false]);
  await lab.end(vfs.unlink(WHO, dir, name("g")));
  t.notOk(await there("g"));
  t.equal(meta.calls.get("lookup"), undefined);
  const kept = await lab.end(vfs.lookup(WHO, dir, name("h")));
  t.equal(kept.entryMs, 0, "the kernel would not learn when somebody makes it");
  for (let i = 0; i < 5; i++) await there("asked for again and again");
  t.equal(meta.calls.get("lookup"), 1, "an answer that the kernel may keep");
  t.equal(await lab.errno(() => vfs.lookup(WHO, dir, name("x".repeat(300)))), "ENAMETOOLONG");
});

void test("names that somebody else makes in a folder that was made here are seen", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const b = lab.mount();
  const dir = (await lab.end(a.vfs.mkdir(WHO, 1, name("dir"), 0o755, 0))).attr?.ino ?? 0;
  const there = async (text: string) => (await lab.end(a.vfs.lookup(WHO, dir, name(text)))).attr !== undefined;
  t.notOk(await there("f"));
  await lab.lookup(b, "dir");
  await lab.end(b.vfs.mkdir(WHO, dir, name("f"), 0o755, 0));
  await lab.end(a.vfs.getattr(WHO, dir));
  t.ok(await there("f"));
  await lab.end(a.vfs.mkdir(WHO, dir, name("g"), 0o755, 0));
  await lab.end(
    b.vfs.rename(WHO, {
      fromDir: dir,
      fromName: name("g"),
      intoDir: dir,
      intoName: name("h"),
      noReplace: false,
      exchange: false,
    }),
  );
  t.same([await there("g"), await there("h")], [false, true]);
});

void test("a name that was made although no answer came is found", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const dir = (await lab.end(a.vfs.mkdir(WHO, 1, name("dir"), 0o755, 0))).attr?.ino ?? 0;
  a.meta.after = (op) => {
    if (op === "make") throw new FsError("EIO");
  };
  const create = () => a.vfs.create(WHO, dir, name("f"), 0o644, 0, { ...flags(), exclusive: true });
  t.equal(await lab.errno(create), "EIO");
  t.ok((await lab.end(a.vfs.lookup(WHO, dir, name("f")))).attr);
});

void test("after a rename both names are known, until somebody else changes one", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const b = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.close(a, handle);
  const move = (from: string, into: string, exchange = false) =>
    lab.end(
      a.vfs.rename(WHO, {
        ...{ fromDir: 1, fromName: name(from), intoDir: 1, intoName: name(into) },
        ...{ noReplace: false, exchange },
      }),
    );
  const look = async (text: string) => {
    const { attr, entryMs } = await lab.end(a.vfs.lookup(WHO, 1, name(text)));
    return [attr?.ino, entryMs > 0];
  };
  // The kernel always looks first.
  await look("g");
  await move("f", "g");
  a.meta.calls.clear();
  t.same(
    [await look("f"), await look("g")],
    [
      [undefined, true],
      [ino, true],
    ],
  );
  t.equal(a.meta.calls.get("lookup"), undefined);
  await lab.end(b.vfs.unlink(WHO, 1, name("g")));
  const other = (await lab.end(b.vfs.mkdir(WHO, 1, name("f"), 0o755, 0))).attr?.ino;
  t.same([(await look("f"))[0], (await look("g"))[0]], [other, undefined]);
  const third = (await lab.end(a.vfs.mkdir(WHO, 1, name("h"), 0o755, 0))).attr?.ino;
  await look("f");
  await move("f", "h", true);
  t.same([(await look("f"))[0], (await look("h"))[0]], [third, other], "exchanged");
});

void test("the kernel does not keep the name that a rename has made where nobody would tell when it changes", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  for (const text of ["f", "g"]) await lab.close(a, (await lab.create(a, text)).handle);
  const move = async (from: string, into: string, exchange: boolean) => {
    const names = { fromDir: 1, fromName: name(from), intoDir: 1, intoName: name(into) };
    a.kernel.told.length = 0;
    await lab.end(a.vfs.rename(WHO, { ...names, noReplace: false, exchange }));
    return a.kernel.told.filter((what) => what.startsWith("entry"));
  };
  t.same((await move("f", "g", true)).sort(), ["entry 1 f", "entry 1 g"], "exchanged: the lease is not known");
  t.same(await move("f", "h", false), [], "it may keep this one");
  a.meta.after = async (op) => {
    if (op !== "rename") return;
    await a.vfs.recall({ number: 1, inodes: [], entries: [{ dir: 1, name: Buffer.from("i") }] });
    a.kernel.told.length = 0;
  };
  t.same(await move("h", "i", false), ["entry 1 i"], "recalled before it was there");
});

void test("two names of one file: moving one over the other leaves both", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const dir = (await lab.end(a.vfs.mkdir(WHO, 1, name("dir"), 0o755, 0))).attr?.ino ?? 0;
  const made = await lab.end(a.vfs.mknod(WHO, dir, name("f"), 0o100644, 0, 0));
  await lab.end(a.vfs.link(WHO, made.attr?.ino ?? 0, dir, name("g")));
  await lab.end(
    a.vfs.rename(WHO, {
      fromDir: dir,
      fromName: name("f"),
      intoDir: dir,
      intoName: name("g"),
      noReplace: false,
      exchange: false,
    }),
  );
  for (const text of ["f", "g"]) t.ok((await lab.end(a.vfs.lookup(WHO, dir, name(text)))).attr);
});

void test("what the kernel has forgotten is answered without asking, until somebody changes it", async (t) => {
  const lab = new Lab();
  const a = lab.mount({ idleInodes: 2 });
  const b = lab.mount();
  const inos: number[] = [];
  for (const text of ["f", "g", "h"]) {
    const { ino, handle } = await lab.create(a, text);
    await lab.close(a, handle);
    inos.push(ino);
  }
  const [f = 0, g = 0, h = 0] = inos;
  for (const ino of inos) a.vfs.forget(ino, 1);
  await lab.clock.advance(2000);
  t.same(a.meta.forgotten, [f], "the oldest had no room");
  a.meta.calls.clear();
  t.equal(await lab.lookup(a, "g"), g);
  t.equal(a.meta.calls.get("lookup"), undefined);
  await lab.lookup(b, "h");
  await lab.end(b.vfs.setattr(WHO, h, { mode: 0o600 }));
  await lab.clock.advance(2000);
  t.same(a.meta.forgotten, [f, h], "what changed is not kept");
  const { attr } = await lab.end(a.vfs.lookup(WHO, 1, name("h")));
  t.equal((attr?.mode ?? 0) & 0o777, 0o600);
  t.equal(a.meta.calls.get("lookup"), 1);
  await lab.end(b.vfs.unlink(WHO, 1, name("g")));
  a.vfs.forget(g, 1);
  t.equal((await lab.end(a.vfs.lookup(WHO, 1, name("g")))).attr, undefined, "its name is gone");
});
