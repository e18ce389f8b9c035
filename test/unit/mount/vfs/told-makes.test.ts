import { test } from "tap";
import { attrOf } from "../../../../daemon/meta/rules/inodes.js";
import type { Found, Maybe } from "../../../../mount/vfs/filesystem.js";
import { FsError } from "../../../../proto/errno.js";
import { settle } from "../../../helpers/fake-clock.js";
import { Lab, type Mount, WHO, flags, isWaiting, name } from "./lab.js";

const USER = { uid: 1000, gid: 100, pid: 1 };

interface Place {
  readonly lab: Lab;
  readonly mount: Mount;
  readonly dir: number;
  /** Lets the daemon do and answer what was told. */
  readonly open: () => void;
}

/** A mount that has all folders exclusively and ids for what it makes; the daemon makes nothing before `open`. */
async function place(): Promise<Place> {
  const lab = new Lab();
  const mount = lab.mount();
  mount.meta.exclusive = true;
  const { vfs } = mount;
  const dir = (await lab.end(vfs.mkdir(WHO, 1, name("dir"), 0o755, 0))).attr?.ino ?? 0;
  await lab.end(vfs.mkdir(WHO, dir, name("first"), 0o755, 0));
  await lab.end(vfs.drain());
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  mount.meta.before = (op) => (op === "make" ? opened : undefined);
  return { lab, mount, dir, open: () => open() };
}

/** What was made without asking; undefined: it was asked for. */
function told(work: Maybe<Found>): Found | undefined {
  if (!(work instanceof Promise)) return work;
  work.catch(() => {});
  return undefined;
}

function made({ mount, dir }: Place, text: string): number | undefined {
  return told(mount.vfs.mkdir(WHO, dir, name(text), 0o755, 0))?.attr?.ino;
}

void test("in an exclusive folder what is made is there at once, as the daemon makes it", async (t) => {
  const p = await place();
  const { lab, mount, dir } = p;
  const { vfs, meta } = mount;
  const setgid = made(p, "setgid") ?? 0;
  p.open();
  await lab.end(vfs.setattr(WHO, setgid, { mode: 0o2775, gid: 7 }));
  await lab.clock.advance(5000);
  meta.before = (op) => (op === "make" ? settle(100) : undefined);
  const target = Buffer.from("somewhere");
  for (const at of [dir, setgid]) {
    const all = [
      vfs.mkdir(USER, at, name("folder"), 0o7777, 0o022),
      vfs.mkdir(USER, at, name("sticky"), 0o1777, 0),
      vfs.mknod(USER, at, name("file"), 0o6777, 0, 0o002),
      vfs.mknod(USER, at, name("fifo"), 0o010644, 5, 0),
      vfs.mknod(USER, at, name("device"), 0o020660, 0x103, 0o007),
      vfs.symlink(USER, at, name("link"), target),
    ].map(told);
    for (const found of all) {
      const attr = found?.attr;
      t.same([found?.attrMs, found?.entryMs], [0, 0], "the kernel must not keep what is not answered");
      t.same((await vfs.getattr(WHO, attr?.ino ?? 0)).attr, attr);
    }
    t.same(vfs.readlink(WHO, all[5]?.attr?.ino ?? 0), target);
    const folder = (await vfs.getattr(WHO, at)).attr;
    t.equal(folder.nlink, at === dir ? 6 : 4);
    t.same(folder.mtime, all[0]?.attr?.mtime);
    await lab.end(vfs.drain());
    for (const { attr } of all.map((found) => found ?? { attr: undefined })) {
      t.same(attr, attrOf(lab.cluster.inode(attr?.ino ?? 0)!), "as the daemon has it");
      const shown = await lab.end(vfs.getattr(WHO, attr?.ino ?? 0));
      t.same(shown.attr, attr);
      t.ok(shown.attrMs > 0, "which may be kept now");
    }
    t.same((await vfs.getattr(WHO, at)).attr, attrOf(lab.cluster.inode(at)!));
  }
  t.equal(meta.calls.get("getattr"), undefined, "nothing was asked");
  t.equal(meta.calls.get("lookup"), undefined);
});

void test("a name that was just made leads there without asking, and may be kept when it is answered", async (t) => {
  const p = await place();
  const { lab, mount, dir } = p;
  const { vfs } = mount;
  const ino = made(p, "new");
  const early = await vfs.lookup(WHO, dir, name("new"));
  t.same([early.attr?.ino, early.entryMs, early.attrMs], [ino, 0, 0]);
  t.equal(mount.meta.calls.get("lookup"), undefined);
  p.open();
  await lab.end(vfs.drain());
  const late = vfs.lookup(WHO, dir, name("new"));
  t.notOk(late instanceof Promise);
  t.ok((await late).entryMs > 0);
  t.equal(told(vfs.mkdir(WHO, ino ?? 0, name("below"), 0o755, 0))?.attr?.nlink, 2, "and it is this mount's alone");
  await lab.end(vfs.drain());
});

void test("what would show it at the daemon waits", async (t) => {
  const p = await place();
  const { lab, mount, dir } = p;
  const { vfs } = mount;
  const { handle } = await lab.end(vfs.opendir(WHO, dir));
  const [sub, file] = [made(p, "sub") ?? 0, told(vfs.mknod(WHO, dir, name("file"), 0o644, 0, 0))?.attr?.ino ?? 0];
  const inside = await lab.end(vfs.opendir(WHO, sub));
  const plain = { noReplace: false, exchange: false };
  const waiting = {
    list: vfs.readdir(handle, 0, false, () => true),
    inside: vfs.readdir(inside.handle, 0, false, () => true),
    again: vfs.mkdir(WHO, dir, name("sub"), 0o755, 0),
    below: vfs.mkdir(WHO, sub, name("below"), 0o755, 0),
    create: vfs.create(WHO, sub, name("f"), 0o644, 0, { ...flags(), exclusive: true }),
    lookup: vfs.lookup(WHO, sub, name("f")),
    chmod: vfs.setattr(WHO, sub, { mode: 0o700 }),
    xattr: vfs.setxattr(WHO, sub, { name: name("user.a"), value: Buffer.from("1"), flags: 0, killSgid: false }),
    open: vfs.open(WHO, file, flags()),
    link: vfs.link(WHO, file, dir, name("other")),
    unlink: vfs.unlink(WHO, dir, name("file")),
    rename: vfs.rename(WHO, { fromDir: dir, fromName: name("file"), intoDir: dir, intoName: name("moved"), ...plain }),
    rmdir: vfs.rmdir(WHO, dir, name("sub")),
    statfs: vfs.statfs(),
    fsyncdir: vfs.fsyncdir(handle),
    drain: vfs.drain(),
    recall: vfs.recall({ number: 1, inodes: [{ ino: dir, data: false }], entries: [] }),
  };
  for (const [what, work] of Object.entries(waiting)) t.ok(await isWaiting(work), what);
  t.equal(made(p, "third"), undefined, "after a recall it is not this mount's alone any more");
  p.open();
  for (const work of Object.values(waiting)) await lab.end(Promise.resolve(work as Promise<unknown>).catch(() => {}));
});

void test("what is there, may be seen by others, or cannot be sent, is asked for", async (t) => {
  const p = await place();
  const { lab, mount, dir } = p;
  const { vfs, meta } = mount;
  p.open();
  const isAsked = async (at: number, text: string) => {
    const work = vfs.mkdir(WHO, at, name(text), 0o755, 0);
    await lab.end(Promise.resolve(work).catch(() => {}));
    return work instanceof Promise;
  };
  meta.isReady = false;
  t.ok(await isAsked(dir, "away"), "the daemon is away");
  meta.isReady = true;
  t.notOk(await isAsked(dir, "back"));
  const { handle } = await lab.end(vfs.create(WHO, dir, name("file"), 0o644, 0, { ...flags(), exclusive: true }));
  await lab.close(mount, handle);
  for (const there of ["first", "back", "file"]) {
    t.equal(await lab.errno(() => vfs.mkdir(WHO, dir, name(there), 0o755, 0)), "EEXIST");
  }
  t.equal(await lab.errno(() => vfs.mkdir(WHO, dir, name("n".repeat(256)), 0o755, 0)), "ENAMETOOLONG");
  meta.exclusive = false;
  const shared = (await lab.end(vfs.mkdir(WHO, 1, name("shared"), 0o755, 0))).attr?.ino ?? 0;
  await lab.end(vfs.drain());
  t.ok(await isAsked(shared, "x"), "others may look at it");
  meta.exclusive = true;
  const own = (await lab.end(vfs.mkdir(WHO, 1, name("own"), 0o755, 0))).attr?.ino ?? 0;
  await lab.end(vfs.drain());
  t.notOk(await isAsked(own, "x"));
  await lab.end(vfs.uncached());
  t.ok(await isAsked(own, "y"), "after a reconnect nothing is exclusive until that is told again");
  await lab.end(vfs.mknod(WHO, own, name("file"), 0o644, 0, 0));
  const listing = await lab.end(vfs.opendir(WHO, own));
  await lab.end(vfs.readdir(listing.handle, 0, true, () => true));
  t.ok(await isAsked(own, "lock"), "others may have seen it, to whom the name may be a lock");
  t.notOk(vfs.unlink(WHO, own, name("file")) instanceof Promise, "though it is this mount's alone");
  await lab.end(vfs.drain());
});

void test("of many at once the rest waits", async (t) => {
  const p = await place();
  let early = 0;
  while (early < 1000 && made(p, `d${early}`) !== undefined) {
    early++;
    await settle(2);
  }
  t.equal(early, 128);
  p.open();
  await p.lab.end(p.mount.vfs.drain());
  t.equal(p.lab.cluster.inode(p.dir)?.nlink, 2 + 1 + 129, "which was asked for is made too");
});

void test("without inode ids, which a daemon gives that can save something, it is asked", async (t) => {
  const p = await place();
  const { lab, mount } = p;
  const { vfs, meta } = mount;
  p.open();
  meta.before = (op) => {
    if (op === "inodes") throw new FsError("ENOSPC", "only deletions");
  };
  vfs.fenced(false);
  await lab.end(vfs.lookup(WHO, 1, name("dir")));
  const folder = (await lab.end(vfs.mkdir(WHO, p.dir, name("again"), 0o755, 0))).attr?.ino ?? 0;
  const isAsked = async (text: string) => {
    const work = vfs.mkdir(WHO, folder, name(text), 0o755, 0);
    await lab.end(work);
    return work instanceof Promise;
  };
  t.ok(await isAsked("x"), "those of a session that is no more are not used");
  t.ok(await isAsked("y"));
  meta.before = () => {};
  t.ok(await isAsked("z"));
  await settle(50);
  t.ok(told(vfs.mkdir(WHO, folder, name("more"), 0o755, 0)), "until there are some");
  await lab.end(vfs.drain());
});

void test("what the daemon did not make after all is told to who syncs a folder, and nothing of it stays", async (t) => {
  const p = await place();
  const { lab, mount, dir } = p;
  const { vfs, meta } = mount;
  const { handle } = await lab.end(vfs.opendir(WHO, dir));
  meta.before = (op) => {
    if (op === "make") throw new FsError("EIO", "given up");
  };
  const ino = made(p, "lost") ?? 0;
  t.ok((await vfs.getattr(WHO, dir)).attrMs > 0);
  t.equal(await lab.errno(() => vfs.fsyncdir(handle)), "EIO");
  t.ok(mount.kernel.told.includes(`attributes ${dir}`), "nor in the kernel");
  meta.before = () => {};
  t.equal((await lab.end(vfs.lookup(WHO, dir, name("lost")))).attr, undefined);
  t.equal(await lab.errno(() => vfs.getattr(WHO, ino)), "ESTALE");
  t.same((await lab.end(vfs.getattr(WHO, dir))).attr, attrOf(lab.cluster.inode(dir)!));
});

void test("what the kernel forgets before the answer is known after it", async (t) => {
  const p = await place();
  const { lab, mount, dir } = p;
  const { vfs, meta } = mount;
  const ino = made(p, "new") ?? 0;
  vfs.forget(ino, 1);
  t.equal((await vfs.getattr(WHO, ino)).attr.ino, ino);
  p.open();
  await lab.end(vfs.drain());
  t.same((await lab.end(vfs.getattr(WHO, ino))).attr, attrOf(lab.cluster.inode(ino)!));
  await lab.clock.advance(2000);
  t.ok(meta.forgotten.includes(ino), "and that it is not cached");
  t.equal((await lab.end(vfs.lookup(WHO, dir, name("new")))).attr?.ino, ino);
});

void test("a folder shows all of them in whatever order they are answered", async (t) => {
  const p = await place();
  const { lab, mount, dir } = p;
  const { vfs, meta } = mount;
  p.open();
  let turn = 0;
  meta.before = () => settle([90, 10, 60, 30][turn++ % 4] ?? 0);
  meta.after = () => settle([10, 80, 5, 40][turn % 4] ?? 0);
  for (let i = 0; i < 12; i++) t.ok(made(p, `d${i}`));
  const shown = (await vfs.getattr(WHO, dir)).attr;
  t.equal(shown.nlink, 2 + 1 + 12);
  await lab.end(vfs.drain());
  t.same((await vfs.getattr(WHO, dir)).attr, attrOf(lab.cluster.inode(dir)!));
  t.same(shown, attrOf(lab.cluster.inode(dir)!), "as it was foretold");
});

void test("an answer that came before what was told while it waited does not hide that", async (t) => {
  const p = await place();
  const { lab, mount, dir } = p;
  const { vfs, meta } = mount;
  p.open();
  const file = told(vfs.mknod(WHO, dir, name("file"), 0o644, 0, 0))?.attr?.ino ?? 0;
  await lab.end(vfs.drain());
  const { open, before } = gates();
  meta.before = (op, args) => before((args as { name?: Buffer }).name?.toString() ?? op);
  t.ok(made(p, "first told"));
  const linked = vfs.link(WHO, file, dir, name("link"));
  await settle(20);
  t.ok(made(p, "told meanwhile"));
  for (const next of ["first told", "link", "told meanwhile"]) {
    open(next);
    await settle(100);
  }
  meta.before = () => {};
  await lab.end(linked);
  t.same((await lab.end(vfs.getattr(WHO, dir))).attr, attrOf(lab.cluster.inode(dir)!));
});

void test("what may not be cached is asked for when it is answered, and everything when the lease is over", async (t) => {
  const p = await place();
  const { lab, mount, dir } = p;
  const { vfs, meta } = mount;
  const ino = made(p, "new") ?? 0;
  meta.uncached = true;
  p.open();
  await lab.end(vfs.drain());
  t.ok(vfs.getattr(WHO, ino) instanceof Promise);
  meta.uncached = false;
  const other = await place();
  const { vfs: late } = other.mount;
  t.ok(made(other, "in time"));
  other.mount.meta.leaseMs = 0;
  t.notOk(made(other, "too late"));
  t.ok(late.lookup(WHO, dir, name("in time")) instanceof Promise);
  other.open();
  await other.lab.end(late.drain());
});

/** Requests that wait, by their names, until they are let go. */
function gates(): { open: (what: string) => void; before: (what: string) => Promise<void> } {
  const waiting = new Map<string, () => void>();
  return {
    open: (what) => waiting.get(what)?.(),
    before: (what) => new Promise((resolve) => waiting.set(what, resolve)),
  };
}
