import { test } from "tap";
import { attrOf } from "../../../../daemon/meta/rules/inodes.js";
import { FsError } from "../../../../proto/errno.js";
import type { Recall } from "../../../../proto/gen/bigfs/v1/meta.js";
import { Lab, type Mount, WHO, flags, isWaiting, name, pattern } from "./lab.js";

interface Exclusive {
  readonly lab: Lab;
  readonly mount: Mount;
  readonly dir: number;
  /** Lets the daemon do and answer what was asked. */
  readonly open: () => void;
}

/** A mount that has all folders exclusively, a folder with files f0, f1, ...; the daemon moves and removes nothing before `open`. */
async function exclusive(files = 3): Promise<Exclusive> {
  const lab = new Lab();
  const mount = lab.mount();
  mount.meta.exclusive = true;
  const { vfs } = mount;
  const dir = (await lab.end(vfs.mkdir(WHO, 1, name("dir"), 0o755, 0))).attr?.ino ?? 0;
  for (let i = 0; i < files; i++) await lab.end(vfs.mknod(WHO, dir, name(`f${i}`), 0o644, 0, 0));
  await lab.end(vfs.drain());
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  mount.meta.before = (op) => (op === "unlink" || op === "rename" ? opened : undefined);
  return { lab, mount, dir, open: () => open() };
}

/** Whether it was done without asking. */
function unlinked({ mount, dir }: Exclusive, text: string): boolean {
  const done = mount.vfs.unlink(WHO, dir, name(text));
  if (done instanceof Promise) done.catch(() => {});
  return !(done instanceof Promise);
}

/** Whether it was done without asking. */
async function renamed({ mount, dir }: Exclusive, from: string, into: string, more = {}): Promise<boolean> {
  const plain = { fromDir: dir, intoDir: dir, noReplace: false, exchange: false };
  return !(await isWaiting(mount.vfs.rename(WHO, { ...plain, fromName: name(from), intoName: name(into), ...more })));
}

void test("in an exclusive folder a name is gone at once, and everything here shows it", async (t) => {
  const e = await exclusive();
  const { lab, mount, dir } = e;
  const before = await lab.end(mount.vfs.getattr(WHO, dir));
  await lab.clock.advance(5000);
  t.ok(unlinked(e, "f0"));
  t.ok(unlinked(e, "f1"), "the next does not wait either");
  t.equal((await mount.vfs.lookup(WHO, dir, name("f0"))).attr, undefined);
  const after = await mount.vfs.getattr(WHO, dir);
  t.equal((after.attr.mtime?.sec ?? 0) - (before.attr.mtime?.sec ?? 0), 5);
  t.same(after.attr.ctime, after.attr.mtime);
  await lab.clock.advance(7000);
  e.open();
  await lab.end(mount.vfs.fsyncdir((await lab.end(mount.vfs.opendir(WHO, dir))).handle));
  t.same((await lab.end(mount.vfs.getattr(WHO, dir))).attr, attrOf(lab.cluster.inode(dir)!), "as the daemon has it");
  t.same(lab.cluster.inode(dir)?.mtime, after.attr.mtime, "at the time when it was told");
  t.equal(lab.cluster.inode(dir)?.children, 1);
  t.ok(unlinked(e, "f2"), "and it goes on so");
});

void test("what the daemon would show of it waits until it is done there", async (t) => {
  const e = await exclusive();
  const { lab, mount, dir } = e;
  const { vfs } = mount;
  const { handle } = await lab.end(vfs.opendir(WHO, dir));
  const child = (await lab.end(vfs.lookup(WHO, dir, name("f0")))).attr?.ino ?? 0;
  for (const text of ["f0", "f1", "f2"]) t.ok(unlinked(e, text));
  const waiting = {
    list: vfs.readdir(handle, 0, false, () => true),
    again: vfs.mknod(WHO, dir, name("f0"), 0o644, 0, 0),
    rmdir: vfs.rmdir(WHO, 1, name("dir")),
    rename: vfs.rename(WHO, {
      ...{ fromDir: 1, fromName: name("dir"), intoDir: 1, intoName: name("other") },
      ...{ noReplace: false, exchange: false },
    }),
    child: vfs.getattr(WHO, child),
    statfs: vfs.statfs(),
    fsyncdir: vfs.fsyncdir(handle),
    drain: vfs.drain(),
    recall: vfs.recall({ number: 1, inodes: [{ ino: dir, data: false }], entries: [] } satisfies Recall),
  };
  for (const [what, work] of Object.entries(waiting)) t.ok(await isWaiting(work), what);
  t.notOk(await isWaiting(vfs.getattr(WHO, 1)), "what has nothing to do with it does not");
  e.open();
  for (const work of Object.values(waiting)) await lab.end(Promise.resolve(work as Promise<unknown>).catch(() => {}));
  t.notOk(unlinked(e, "f0"), "after a recall it is not this mount's alone any more");
});

void test("in an exclusive folder a file has its new name at once, and everything here shows it", async (t) => {
  const e = await exclusive();
  const { lab, mount, dir } = e;
  const { vfs } = mount;
  const inoOf = async (text: string) => (await lab.end(vfs.lookup(WHO, dir, name(text)))).attr?.ino ?? 0;
  const [ino, other] = [await inoOf("f0"), await inoOf("f1")];
  await lab.clock.advance(5000);
  t.ok(await renamed(e, "f0", "g0"));
  t.ok(await renamed(e, "f1", "g1", { noReplace: true }), "the next does not wait either");
  t.ok(unlinked(e, "f2"), "nor what is removed then");
  t.equal((await vfs.lookup(WHO, dir, name("f0"))).attr, undefined);
  const folder = await vfs.getattr(WHO, dir);
  t.same(folder.attr.ctime, folder.attr.mtime);
  t.same((await vfs.getattr(WHO, ino)).attr.ctime, folder.attr.ctime);
  t.ok(await isWaiting(vfs.lookup(WHO, dir, name("g0"))), "what the daemon would show waits");
  e.open();
  await lab.end(vfs.drain());
  for (const at of [dir, ino, other]) {
    t.same((await lab.end(vfs.getattr(WHO, at))).attr, attrOf(lab.cluster.inode(at)!), "as the daemon has it");
  }
  t.same(lab.cluster.inode(dir)?.mtime, folder.attr.mtime, "at the time when it was told");
  t.notOk(vfs.lookup(WHO, dir, name("g0")) instanceof Promise, "which need not be asked again");
  t.same([await inoOf("g0"), await inoOf("g1"), await inoOf("f1")], [ino, other, 0]);
  t.ok(await renamed(e, "g0", "f0"), "and it goes on so");
  t.ok(unlinked(e, "g1"));
});

void test("of two changes of one name the second is asked for, when the first is done", async (t) => {
  const e = await exclusive();
  const { lab, mount, dir } = e;
  const { vfs, meta } = mount;
  const inos = await Promise.all(
    ["f0", "f1"].map(async (text) => (await lab.end(vfs.lookup(WHO, dir, name(text)))).attr?.ino),
  );
  const before = meta.before;
  const asked: unknown[] = [];
  meta.before = (op, args) => {
    if (op === "rename") asked.push((args as { noReplace: boolean }).noReplace);
    return before(op, args);
  };
  t.ok(await renamed(e, "f0", "g0"));
  t.notOk(await renamed(e, "f1", "f0"), "it may be carried out first");
  t.notOk(await renamed(e, "g0", "h0"));
  t.ok(unlinked(e, "f2"));
  t.notOk(await renamed(e, "f1", "f2"));
  t.same(asked, [true], "which replaces nothing in any case");
  e.open();
  await lab.end(vfs.drain());
  t.same(lab.cluster.inode(inos[0] ?? 0)?.nlink, 1);
  t.same(lab.cluster.inode(inos[1] ?? 0)?.nlink, 1);
});

void test("a folder that the kernel forgets before the answer stays as it was told", async (t) => {
  const e = await exclusive();
  const { lab, mount, dir } = e;
  const { vfs } = mount;
  await lab.clock.advance(5000);
  t.ok(unlinked(e, "f0"));
  const { attr } = await vfs.getattr(WHO, dir);
  vfs.forget(dir, 1);
  const looked = await lab.end(vfs.lookup(WHO, 1, name("dir")));
  t.same(looked.attr?.mtime, attr.mtime);
  e.open();
  await lab.end(vfs.drain());
  t.same((await lab.end(vfs.getattr(WHO, dir))).attr, attrOf(lab.cluster.inode(dir)!), "as the daemon has it");
});

void test("a name that was recalled before the answer to its rename is asked for", async (t) => {
  const e = await exclusive();
  const { lab, mount, dir } = e;
  const { vfs } = mount;
  t.ok(await renamed(e, "f0", "g0"));
  await lab.end(vfs.recall({ number: 1, inodes: [], entries: [{ dir, name: Buffer.from("g0") }] }));
  e.open();
  await lab.end(vfs.drain());
  t.ok(vfs.lookup(WHO, dir, name("g0")) instanceof Promise);
});

void test("a name that replaces another, leaves its folder or is more than one is asked for", async (t) => {
  const e = await exclusive(5);
  const { lab, mount, dir } = e;
  const { vfs } = mount;
  t.notOk(await renamed(e, "f0", "f1"), "it is taken");
  t.notOk(await renamed(e, "f0", "f0"), "by itself");
  t.notOk(await renamed(e, "f0", "f1", { exchange: true }));
  t.notOk(await renamed(e, "f0", "g", { exchange: true }), "nothing is there to exchange");
  t.notOk(await renamed(e, "f0", "up", { intoDir: 1 }), "to another folder");
  t.notOk(await renamed(e, "missing", "g"));
  await lab.end(vfs.link(WHO, (await lab.end(vfs.lookup(WHO, dir, name("f2")))).attr?.ino ?? 0, dir, name("link")));
  t.notOk(await renamed(e, "f2", "g"), "it has another name");
  await lab.end(vfs.open(WHO, (await lab.end(vfs.lookup(WHO, dir, name("f3")))).attr?.ino ?? 0, flags()));
  t.notOk(await renamed(e, "f3", "g"), "it is open");
  await lab.end(vfs.mkdir(WHO, dir, name("sub"), 0o755, 0));
  t.notOk(await renamed(e, "sub", "g"), "a folder");
  const long = { fromDir: dir, intoDir: dir, fromName: name("f4"), intoName: name("n".repeat(256)) };
  const refused = () => vfs.rename(WHO, { ...long, noReplace: false, exchange: false });
  t.equal(await lab.errno(refused), "ENAMETOOLONG");
  e.open();
  await lab.end(vfs.drain());
});

void test("what others may see, or what lives on, is asked for", async (t) => {
  const e = await exclusive(6);
  const { lab, mount, dir } = e;
  const { vfs, meta } = mount;
  const inoOf = async (text: string) => (await lab.end(vfs.lookup(WHO, dir, name(text)))).attr?.ino ?? 0;
  await lab.end(vfs.link(WHO, await inoOf("f0"), dir, name("link")));
  t.notOk(unlinked(e, "f0"), "it has another name");
  await lab.end(vfs.open(WHO, await inoOf("f1"), flags()));
  t.notOk(unlinked(e, "f1"), "it is open");
  await lab.end(vfs.mkdir(WHO, dir, name("sub"), 0o755, 0));
  t.notOk(unlinked(e, "sub"), "a folder, which is refused");
  meta.exclusive = false;
  await lab.end(vfs.mknod(WHO, dir, name("shared"), 0o644, 0, 0));
  meta.exclusive = true;
  t.notOk(unlinked(e, "shared"), "others know it otherwise than through its folder");
  meta.isReady = false;
  t.notOk(unlinked(e, "f2"), "the daemon is away");
  meta.isReady = true;
  e.open();
  await lab.end(vfs.drain());
  await lab.end(vfs.uncached());
  for (const text of ["f3", "f4"]) await inoOf(text);
  t.notOk(unlinked(e, "f3"), "after a reconnect nothing is exclusive until that is told again");
  meta.exclusive = false;
  const { ino } = (await lab.end(vfs.lookup(WHO, 1, name("dir")))).attr ?? { ino: 0 };
  t.equal(ino, dir);
  t.notOk(unlinked(e, "f4"));
});

void test("a listing tells too; and many at once wait", async (t) => {
  const lab = new Lab();
  const mount = lab.mount();
  const { vfs, meta } = mount;
  const dir = (await lab.end(vfs.mkdir(WHO, 1, name("dir"), 0o755, 0))).attr?.ino ?? 0;
  for (let i = 0; i < 300; i++) await lab.end(vfs.mknod(WHO, dir, name(`f${i}`), 0o644, 0, 0));
  const e: Exclusive = { lab, mount, dir, open: () => {} };
  const asked = vfs.unlink(WHO, dir, name("f0"));
  t.ok(asked instanceof Promise);
  await lab.end(asked);
  meta.exclusive = true;
  const { handle } = await lab.end(vfs.opendir(WHO, dir));
  let cookie = 0;
  for (let more = true; more;) {
    more = false;
    await lab.end(
      vfs.readdir(handle, cookie, true, (entry) => {
        more = true;
        cookie = entry.cookie;
        return true;
      }),
    );
  }
  meta.before = (op) => (op === "unlink" ? new Promise<void>(() => {}) : undefined);
  let early = 0;
  while (unlinked(e, `f${1 + early}`)) early++;
  t.equal(early, 128);
});

void test("what the daemon did not do after all is told to who syncs a folder, and the name is there", async (t) => {
  const e = await exclusive();
  const { lab, mount, dir } = e;
  const { vfs, meta } = mount;
  const { handle } = await lab.end(vfs.opendir(WHO, dir));
  meta.before = (op) => {
    if (op === "unlink") throw new FsError("EIO", "given up");
  };
  t.ok(unlinked(e, "f0"));
  t.equal(await lab.errno(() => vfs.fsyncdir(handle)), "EIO");
  t.equal(await lab.errno(() => vfs.fsyncdir(handle)), "", "once");
  t.ok((await lab.end(vfs.lookup(WHO, dir, name("f0")))).attr !== undefined);
});

void test("the same of what did not get its new name", async (t) => {
  const e = await exclusive();
  const { lab, mount, dir } = e;
  const { vfs, meta } = mount;
  const { handle } = await lab.end(vfs.opendir(WHO, dir));
  const { ino } = (await lab.end(vfs.lookup(WHO, dir, name("f0")))).attr ?? { ino: 0 };
  meta.before = (op) => {
    if (op === "rename") throw new FsError("EIO", "given up");
  };
  t.ok(await renamed(e, "f0", "g0"));
  t.equal(await lab.errno(() => vfs.fsyncdir(handle)), "EIO");
  t.equal((await lab.end(vfs.lookup(WHO, dir, name("f0")))).attr?.ino, ino);
  t.equal((await lab.end(vfs.lookup(WHO, dir, name("g0")))).attr, undefined);
  t.same((await lab.end(vfs.getattr(WHO, ino))).attr, attrOf(lab.cluster.inode(ino)!), "as the daemon has it");
});

interface Held {
  readonly name: string;
  readonly go: () => void;
}

/** Unlinks stop before they are carried out. */
function holdUnlinks(mount: Mount): Held[] {
  const held: Held[] = [];
  mount.meta.before = (op, args) => {
    if (op !== "unlink") return undefined;
    const { name: at } = args as { name: Buffer };
    return new Promise<void>((resolve) => void held.push({ name: at.toString(), go: resolve }));
  };
  return held;
}

async function folderWith(lab: Lab, mount: Mount, names: readonly string[]): Promise<number> {
  const { vfs } = mount;
  const made = await lab.end(vfs.mkdir(WHO, vfs.root, name("A"), 0o755, 0));
  const dir = made.attr?.ino ?? 0;
  for (const each of names) await lab.end(vfs.mknod(WHO, dir, name(each), 0o100644, 0, 0));
  await lab.clock.advance(2_000);
  const { handle } = await lab.end(vfs.opendir(WHO, dir));
  for (let cookie = 0, before = -1; cookie !== before;) {
    before = cookie;
    await lab.end(vfs.readdir(handle, cookie, true, (entry) => ((cookie = entry.cookie), true)));
  }
  await lab.end(vfs.releasedir(handle));
  await lab.clock.advance(2_000);
  return dir;
}

/** Whatever is ready runs. */
async function pass(lab: Lab): Promise<void> {
  for (let i = 0; i < 40; i++) await lab.clock.advance(5);
}

void test("fsync of a file waits for the names that were removed before", async (t) => {
  const lab = new Lab();
  const mount = lab.mount();
  mount.meta.exclusive = true;
  const { vfs } = mount;
  const dir = await folderWith(lab, mount, ["f1"]);
  const { handle } = await lab.create(mount, "other");
  const held = holdUnlinks(mount);
  t.equal(vfs.unlink(WHO, dir, name("f1")), undefined, "told early");
  await lab.write(mount, handle, 0, pattern(100, 1));
  // As the daemon does it when no chunk of the file waits for a disk (CommitService.#andSync).
  const { meta } = mount;
  const call = meta.call.bind(meta);
  meta.call = (async (op: "commit", args: { sync: boolean }, ...rest: [never, never]) => {
    const reply = await call(op, args as never, ...rest);
    return op === "commit" && args.sync ? { ...reply, synced: true } : reply;
  }) as never;
  let isOver = false;
  const synced = Promise.resolve(vfs.fsync(handle)).then(() => (isOver = true));
  await pass(lab);
  t.equal(isOver, false, "fsync waits for the unlink");
  for (const { go } of held) go();
  await lab.end(synced);
});

void test("a page that waited for one name does not bring back another that went meanwhile", async (t) => {
  const lab = new Lab();
  const mount = lab.mount();
  mount.meta.exclusive = true;
  const { vfs } = mount;
  const names = Array.from({ length: 2500 }, (_, i) => `n${String(i).padStart(4, "0")}`);
  const dir = await folderWith(lab, mount, names);
  const { handle } = await lab.end(vfs.opendir(WHO, dir));
  let cookie = 0;
  const read = (count: number) => {
    let got = 0;
    return lab.end(
      vfs.readdir(handle, cookie, true, (entry) => {
        if (got === count) return false;
        got++;
        cookie = entry.cookie;
        return true;
      }),
    );
  };
  await read(100); // page 1; page 2 comes ahead
  await pass(lab);
  const held = holdUnlinks(mount);
  t.equal(vfs.unlink(WHO, dir, name("n0000")), undefined, "told early");
  await read(200); // into page 2; page 3 is to be fetched ahead and waits for n0000
  await pass(lab);
  t.equal(vfs.unlink(WHO, dir, name("n2100")), undefined, "told early");
  held.find((h) => h.name === "n0000")?.go();
  await pass(lab); // page 3 is fetched before n2100 is gone
  for (const { go } of held) go();
  await pass(lab);
  await read(5000);
  const found = await lab.end(vfs.lookup(WHO, dir, name("n2100")));
  t.equal(found.attr, undefined, "the name is gone");
});

void test("a folder's times do not go back behind a change that was told", async (t) => {
  const lab = new Lab();
  const mount = lab.mount();
  mount.meta.exclusive = true;
  const { vfs } = mount;
  const dir = await folderWith(lab, mount, ["f1", "f2"]);
  const held = holdUnlinks(mount);
  t.equal(vfs.unlink(WHO, dir, name("f1")), undefined);
  await lab.clock.advance(3_000);
  t.equal(vfs.unlink(WHO, dir, name("f2")), undefined);
  const mtimeOf = async () => (await lab.end(vfs.getattr(WHO, dir))).attr.mtime;
  const told = await mtimeOf();
  held[0]?.go();
  await pass(lab);
  // ls -l of the folder above
  const { handle } = await lab.end(vfs.opendir(WHO, vfs.root));
  await lab.end(vfs.readdir(handle, 0, true, () => true));
  t.same(await mtimeOf(), told);
  for (const { go } of held) go();
  await pass(lab);
  t.same(await mtimeOf(), told);
});

void test("a folder's times do not go back when this machine's clock is a little behind the daemon's", async (t) => {
  const lab = new Lab();
  const mount = lab.mount();
  mount.meta.exclusive = true;
  const { vfs, meta } = mount;
  const dir = await folderWith(lab, mount, ["f1"]);
  await lab.end(vfs.setattr(WHO, dir, { mtime: "now" }));
  const mtime = async () => {
    const at = (await lab.end(vfs.getattr(WHO, dir))).attr.mtime;
    return (at?.sec ?? 0) * 1000 + (at?.nsec ?? 0) / 1e6;
  };
  const before = await mtime();
  // ServerClock takes 100 ms for what the greeting took on its way.
  const now = meta.now.bind(meta);
  meta.now = () => ({ sec: now().sec - 1, nsec: 920_000_000 });
  t.equal(vfs.unlink(WHO, dir, name("f1")), undefined, "told early");
  await pass(lab);
  t.ok((await mtime()) >= before, `${await mtime()} after ${before}`);
  const row = lab.cluster.inode(dir)?.mtime;
  t.ok((row?.sec ?? 0) * 1000 + (row?.nsec ?? 0) / 1e6 >= before);
});
