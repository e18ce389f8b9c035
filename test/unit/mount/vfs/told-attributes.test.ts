import { test } from "tap";
import { attrOf } from "../../../../daemon/meta/rules/inodes.js";
import { FsError } from "../../../../proto/errno.js";
import type { Commit } from "../../../../proto/gen/bigfs/v1/meta.js";
import type { Change } from "../../../../mount/vfs/filesystem.js";
import { settle } from "../../../helpers/fake-clock.js";
import { Lab, type Mount, WHO, flags, isWaiting, name, pattern } from "./lab.js";

interface File {
  readonly lab: Lab;
  readonly mount: Mount;
  readonly dir: number;
  readonly ino: number;
  readonly handle: number;
  /** Requests that the daemon has got, in their order. */
  readonly asked: string[];
}

/** An open file in a folder that the mount has exclusively (or not). */
async function file(opts: { readonly isShared?: boolean; readonly mode?: number } = {}): Promise<File> {
  const lab = new Lab();
  const mount = lab.mount();
  const { vfs, meta } = mount;
  meta.exclusive = opts.isShared !== true;
  const dir = (await lab.end(vfs.mkdir(WHO, 1, name("dir"), 0o755, 0))).attr?.ino ?? 0;
  const how = { ...flags(), exclusive: true };
  const made = await lab.end(vfs.create(WHO, dir, name("f"), opts.mode ?? 0o600, 0, how));
  const asked: string[] = [];
  meta.before = (op) => void asked.push(op);
  return { lab, mount, dir, ino: made.attr?.ino ?? 0, handle: made.handle, asked };
}

/** Sets attributes; false when the daemon is asked before it is answered. */
function set({ mount, ino }: File, change: Change): boolean {
  const done = mount.vfs.setattr(WHO, ino, change);
  if (done instanceof Promise) done.catch(() => {});
  return !(done instanceof Promise);
}

async function shown({ lab, mount, ino }: File) {
  return (await lab.end(mount.vfs.getattr(WHO, ino))).attr;
}

/** As the daemon has it. */
function stored({ lab, ino }: File) {
  const row = lab.cluster.inode(ino);
  if (row === undefined) throw new Error("it is gone");
  return attrOf(row);
}

const MTIME = { sec: 499_162_500, nsec: 7 };
const CHANGES: readonly Change[] = [{ mtime: MTIME }, { uid: 33, gid: 44 }, { mode: 0o4755 }, { atime: "now" }];

void test("attributes of a file with data to store are set by the commit of its data", async (t) => {
  const f = await file();
  const { lab, mount } = f;
  await lab.write(mount, f.handle, 0, pattern(100, 1));
  for (const change of CHANGES) {
    await lab.clock.advance(10);
    t.ok(set(f, change));
  }
  const before = await shown(f);
  t.match(before, { mode: 0o104755, uid: 33, gid: 44, mtime: MTIME, size: 100 });
  t.same(before.atime, before.ctime);
  await lab.clock.advance(100);
  await lab.end(mount.vfs.flush(f.handle));
  t.same(f.asked, ["commit"]);
  const after = stored(f);
  t.same({ ...after, version: 0, stored: 0 }, { ...before, version: 0, stored: 0 }, "what was shown");
  t.same(await shown(f), after);
  t.same(f.asked, ["commit"], "and what the daemon has is known");
});

void test("what is written after the times were set has the time when it was written", async (t) => {
  const f = await file();
  const { lab, mount } = f;
  await lab.write(mount, f.handle, 0, pattern(100, 1));
  t.ok(set(f, { mtime: MTIME, atime: MTIME }));
  await lab.clock.advance(10);
  await lab.write(mount, f.handle, 100, pattern(100, 2));
  const before = await shown(f);
  t.not(before.mtime?.sec, MTIME.sec);
  t.same(before.atime, MTIME);
  await lab.end(mount.vfs.flush(f.handle));
  t.same([stored(f).mtime, stored(f).atime], [before.mtime, MTIME]);
});

void test("of what is committed in several steps, the first takes the attributes along", async (t) => {
  const f = await file();
  const { lab, mount } = f;
  const commits: Commit[] = [];
  mount.meta.before = (op, args) => void (op === "commit" && commits.push(args as Commit));
  mount.meta.after = () => settle(100);
  await lab.write(mount, f.handle, 0, pattern(100, 1));
  t.ok(set(f, { mtime: MTIME, mode: 0o640 }));
  const first = mount.vfs.flush(f.handle);
  await settle(1);
  await lab.write(mount, f.handle, 1000, pattern(100, 2));
  t.notOk(set(f, { mode: 0o604 }), "while a commit is under way, the daemon is asked");
  await lab.end(first);
  await lab.end(mount.vfs.flush(f.handle));
  t.equal(commits.length, 2);
  t.same(
    commits.map(({ set: taken }) => taken?.mode),
    [0o640, undefined],
  );
  t.equal(stored(f).mode & 0o777, 0o604);
});

void test("the daemon is asked as ever", async (t) => {
  const shared = await file({ isShared: true });
  await shared.lab.write(shared.mount, shared.handle, 0, pattern(100, 1));
  t.notOk(set(shared, { mode: 0o640 }), "when others may look");

  const linked = await file();
  const other = (await linked.lab.end(linked.mount.vfs.mkdir(WHO, 1, name("other"), 0o755, 0))).attr?.ino ?? 0;
  await linked.lab.end(linked.mount.vfs.link(WHO, linked.ino, other, name("f")));
  await linked.lab.write(linked.mount, linked.handle, 0, pattern(100, 1));
  t.notOk(set(linked, { mode: 0o640 }), "when they may by another name");

  const privileged = await file({ mode: 0o4755 });
  await privileged.lab.write(privileged.mount, privileged.handle, 0, pattern(100, 1));
  t.notOk(set(privileged, { uid: 33 }), "what is left of privileges");
  await settle(300);
  t.ok(set(privileged, { uid: 34, mode: 0o4755 }), "unless that is said");

  const sized = await file();
  await sized.lab.write(sized.mount, sized.handle, 0, pattern(100, 1));
  t.ok(set(sized, { mode: 0o640 }));
  t.notOk(set(sized, { size: 50 }));

  const clean = await file();
  clean.mount.meta.isReady = false;
  t.notOk(set(clean, { mode: 0o640 }), "when nothing can be sent at once");
});

void test("when others are about to look, attributes are set before that is confirmed", async (t) => {
  const f = await file();
  const { lab, mount, dir } = f;
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  await lab.write(mount, f.handle, 0, pattern(100, 1));
  t.ok(set(f, { mode: 0o640 }));
  mount.meta.before = (op) => {
    f.asked.push(op);
    return op === "setattr" ? opened : undefined;
  };
  const recalled = mount.vfs.recall({ number: 1, inodes: [{ ino: dir, data: false }], entries: [] });
  const flushed = mount.vfs.flush(f.handle);
  t.ok(await isWaiting(recalled));
  t.same(f.asked, ["setattr"], "what was written before is committed after it");
  t.equal((await shown(f)).mode & 0o777, 0o640);
  open();
  await lab.end(Promise.all([recalled, flushed]));
  t.equal(stored(f).mode & 0o777, 0o640);
  t.notOk(set(f, { mode: 0o604 }), "then it is not this mount's alone any more");
});

void test("without a commit attributes are set by themselves", async (t) => {
  for (const [what, lose] of Object.entries({
    "cut to nothing": ({ lab, mount, ino }: File) => lab.end(mount.vfs.setattr(WHO, ino, { size: 0 })),
    "opened to be emptied": ({ lab, mount, ino }: File) => lab.end(mount.vfs.open(WHO, ino, flags({ truncate: true }))),
    "not stored": async ({ lab, mount, handle }: File) => {
      mount.meta.before = (op) => {
        if (op === "commit") throw new FsError("ENOSPC");
      };
      t.equal(await lab.errno(() => mount.vfs.flush(handle)), "ENOSPC");
    },
  })) {
    const f = await file();
    const { lab, mount } = f;
    await lab.write(mount, f.handle, 0, pattern(100, 1));
    t.ok(set(f, { mode: 0o640, uid: 33, mtime: MTIME }));
    await lose(f);
    await lab.end(mount.vfs.drain());
    t.match(stored(f), { uid: 33, mode: 0o100640 }, what);
    t.same(await shown(f), stored(f));
    if (what !== "not stored") t.not(stored(f).mtime?.sec, MTIME.sec, "emptying is a change");
  }
});

void test("attributes of a file without data to store are told at once too, and what would see them waits", async (t) => {
  const f = await file();
  const { lab, mount, dir } = f;
  const { vfs } = mount;
  await lab.write(mount, f.handle, 0, pattern(100, 1));
  await lab.end(vfs.flush(f.handle));
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  mount.meta.before = (op) => (op === "setattr" ? opened : undefined);
  t.ok(set(f, { mode: 0o640 }));
  t.equal((await shown(f)).mode & 0o777, 0o640);
  t.notOk(set(f, { mode: 0o604 }), "a second one is asked for after the first");
  const waiting = {
    list: vfs.readdir((await lab.end(vfs.opendir(WHO, dir))).handle, 0, true, () => true),
    link: vfs.link(WHO, f.ino, 1, name("other")),
    drain: vfs.drain(),
    recall: vfs.recall({ number: 1, inodes: [{ ino: dir, data: false }], entries: [] }),
  };
  for (const [what, work] of Object.entries(waiting)) t.ok(await isWaiting(work), what);
  open();
  for (const work of Object.values(waiting)) await lab.end(Promise.resolve(work as Promise<unknown>));
  await settle(100);
  t.same(stored(f).mode & 0o777, 0o604);
});

void test("what is known of the data stays known", async (t) => {
  const f = await file();
  const { lab, mount } = f;
  const { vfs } = mount;
  await lab.write(mount, f.handle, 0, pattern(100, 1));
  await lab.end(vfs.flush(f.handle));
  t.same(await lab.end(vfs.read(f.handle, 0, 100)), pattern(100, 1));
  t.ok(set(f, { mode: 0o640 }));
  f.asked.splice(0);
  t.same(await lab.end(vfs.read(f.handle, 0, 100)), pattern(100, 1));
  t.same(f.asked, [], "in the mount");
  await lab.end(vfs.drain());
  t.ok((await lab.end(vfs.open(WHO, f.ino, flags()))).keepCache, "and in the kernel");
});

void test("a file whose attributes are being set is removed and moved after that", async (t) => {
  const f = await file();
  const { lab, mount, dir } = f;
  const { vfs } = mount;
  await lab.close(mount, f.handle);
  mount.meta.before = (op) => (op === "setattr" ? settle(200) : undefined);
  t.ok(set(f, { mode: 0o640 }));
  const into = { fromDir: dir, fromName: name("f"), intoDir: dir, intoName: name("g") };
  await lab.end(vfs.rename(WHO, { ...into, noReplace: false, exchange: false }));
  t.ok(set(f, { mode: 0o604 }));
  const removed = vfs.unlink(WHO, dir, name("g"));
  t.ok(removed instanceof Promise);
  await lab.end(removed);
  t.equal(
    await lab.errno(async () => vfs.fsyncdir((await lab.end(vfs.opendir(WHO, dir))).handle)),
    "",
    "nothing failed",
  );
});

void test("attributes that could not be set are told to the file and to who syncs a folder", async (t) => {
  const f = await file();
  const { lab, mount, dir } = f;
  mount.meta.before = (op) => {
    if (op === "setattr") throw new FsError("EIO");
  };
  const { handle } = await lab.end(mount.vfs.opendir(WHO, dir));
  t.ok(set(f, { mode: 0o640 }));
  await settle(100);
  mount.meta.before = () => {};
  t.equal(await lab.errno(() => mount.vfs.fsync(f.handle)), "EIO");
  t.equal(await lab.errno(() => mount.vfs.fsyncdir(handle)), "EIO");
  t.equal((await shown(f)).mode & 0o777, 0o600, "as it is");
});

void test("a session that begins anew repeats nothing of what was told", async (t) => {
  const f = await file();
  const { lab, mount } = f;
  await lab.write(mount, f.handle, 0, pattern(100, 1));
  t.ok(set(f, { mode: 0o640 }));
  mount.meta.events?.fenced(true);
  t.equal(await lab.errno(() => mount.vfs.flush(f.handle)), "EIO");
  await lab.end(mount.vfs.drain());
  t.equal((await shown(f)).mode & 0o777, 0o600);
  t.notOk(f.asked.includes("setattr"));
});

void test("a daemon that is back hears of them before it serves others", async (t) => {
  const f = await file();
  const { lab, mount } = f;
  await lab.write(mount, f.handle, 0, pattern(100, 1));
  t.ok(set(f, { mode: 0o640 }));
  f.asked.splice(0);
  const uncached = mount.vfs.uncached();
  t.same(f.asked, ["setattr"], "asked at once");
  await lab.end(uncached);
  await lab.end(mount.vfs.drain());
  t.equal(stored(f).mode & 0o777, 0o640);
});

void test("what was written after the times were set counts, also when they are sent by themselves", async (t) => {
  const f = await file();
  const { lab, mount, dir } = f;
  await lab.write(mount, f.handle, 0, pattern(100, 1));
  t.ok(set(f, { mtime: MTIME }));
  await lab.clock.advance(10);
  await lab.write(mount, f.handle, 0, pattern(100, 2));
  await lab.clock.advance(10);
  const written = await shown(f);
  t.ok(set(f, { mode: 0o640 }));
  const before = await shown(f);
  t.same(before.mtime, written.mtime);
  t.notSame(before.ctime, written.ctime, "setting them is a change");
  await lab.end(mount.vfs.recall({ number: 1, inodes: [{ ino: dir, data: false }], entries: [] }));
  await lab.end(mount.vfs.flush(f.handle));
  t.same([stored(f).mtime, stored(f).ctime], [before.mtime, before.ctime]);
});

void test("a commit that comes late sets nothing that others have set since", async (t) => {
  const f = await file();
  const { lab, mount, dir, ino } = f;
  const other = lab.mount();
  let isRefused = true;
  mount.meta.before = (op) => {
    if (op === "commit" && isRefused) throw new FsError("EAGAIN");
  };
  await lab.write(mount, f.handle, 0, pattern(100, 1));
  t.ok(set(f, { mode: 0o640 }));
  const flushed = mount.vfs.flush(f.handle);
  await settle(50);
  await lab.end(mount.vfs.recall({ number: 1, inodes: [{ ino: dir, data: false }], entries: [] }));
  t.equal(stored(f).mode & 0o777, 0o640);
  await lab.end(other.vfs.setattr(WHO, ino, { mode: 0o400 }));
  isRefused = false;
  await lab.end(flushed);
  t.equal(stored(f).mode & 0o777, 0o400);
});

void test("before a file can be seen otherwise than through its folder, its attributes are set", async (t) => {
  const into = { intoDir: 1, intoName: name("g"), noReplace: false, exchange: false };
  const ways: Record<string, (f: File) => unknown> = {
    rename: ({ mount, dir }) => mount.vfs.rename(WHO, { ...into, fromDir: dir, fromName: name("f") }),
    link: ({ mount, ino }) => mount.vfs.link(WHO, ino, 1, name("g")),
    unlink: ({ mount, dir }) => mount.vfs.unlink(WHO, dir, name("f")),
  };
  for (const [op, go] of Object.entries(ways)) {
    const f = await file();
    const { lab, mount } = f;
    await lab.write(mount, f.handle, 0, pattern(100, 1));
    t.ok(set(f, { mode: 0o640 }));
    const gone = go(f);
    t.notOk(set(f, { uid: 33 }), "meanwhile it is asked for");
    await lab.end(gone as Promise<void>);
    t.ok(f.asked.includes("setattr") && f.asked.indexOf("setattr") < f.asked.indexOf(op), op);
    await lab.end(mount.vfs.flush(f.handle));
    await lab.end(mount.vfs.drain());
    t.match(stored(f), { mode: 0o100640, uid: 33 });
  }
});

void test("an fsync that has waited for attributes tells that they were not set, and the kernel drops them", async (t) => {
  const f = await file();
  const { lab, mount } = f;
  await lab.write(mount, f.handle, 0, pattern(100, 1));
  await lab.end(mount.vfs.flush(f.handle));
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  mount.meta.before = async (op) => {
    if (op !== "setattr") return;
    await opened;
    throw new FsError("EIO");
  };
  t.ok(set(f, { mode: 0o640 }));
  const synced = lab.errno(() => mount.vfs.fsync(f.handle));
  await settle(50);
  mount.kernel.told.splice(0);
  open();
  t.equal(await synced, "EIO");
  t.same(mount.kernel.told, [`attributes ${String(f.ino)}`]);
});

void test("attributes are not kept for a commit while others are on their way", async (t) => {
  const f = await file();
  const { lab, mount, dir } = f;
  mount.meta.before = (op) => (op === "setattr" ? settle(200) : undefined);
  t.ok(set(f, { mode: 0o604 }));
  await lab.write(mount, f.handle, 0, pattern(100, 1));
  t.notOk(set(f, { mode: 0o640 }));
  await lab.end(mount.vfs.recall({ number: 1, inodes: [{ ino: dir, data: false }], entries: [] }));
  await lab.end(mount.vfs.drain());
  await settle(500);
  t.equal(stored(f).mode & 0o777, 0o640);
});
