import { test } from "tap";
import { KnownNames, NAMES_MAX } from "../../../../mount/vfs/known-names.js";
import { Lab, type Mount, WHO, name } from "./lab.js";

void test("of a folder whose names are known it is told which are missing", (t) => {
  const known = new KnownNames();
  known.add(1, name("before anything was known"));
  t.notOk(known.misses(1, name("f")), "nothing is known");
  known.set(1, [name("f")]);
  t.same([known.misses(1, name("f")), known.misses(1, name("g")), known.misses(2, name("g"))], [false, true, false]);
  known.add(1, name("g"));
  known.delete(1, name("f"));
  t.same([known.misses(1, name("f")), known.misses(1, name("g"))], [true, false]);
  known.drop(1);
  t.notOk(known.misses(1, name("h")));
  t.end();
});

void test("a folder with too many names is as if nothing was known of it", (t) => {
  const known = new KnownNames();
  const names = Array.from({ length: NAMES_MAX }, (_, i) => name(`f${i}`));
  known.set(1, names);
  t.ok(known.misses(1, name("g")));
  known.add(1, name("h"));
  t.notOk(known.misses(1, name("g")));
  known.set(1, [...names, name("h")]);
  t.notOk(known.misses(1, name("g")));
  t.end();
});

void test("when all folders together have too many names, those that nobody asked about go first", (t) => {
  const known = new KnownNames(30);
  const ten = Array.from({ length: 10 }, (_, i) => name(`f${i}`));
  for (const dir of [1, 2, 3]) known.set(dir, ten);
  // All were new; from now on only 2 is asked about.
  known.set(4, []);
  known.add(4, name("g"));
  for (let times = 0; times < 5; times++) {
    known.misses(2, name(`h${times}`));
    known.set(5 + times, ten);
  }
  const isKnown = (dir: number) => known.misses(dir, name("missing"));
  t.same([1, 2, 3].map(isKnown), [false, true, false]);
  t.ok(isKnown(9), "the newest");
  t.end();
});

async function read(lab: Lab, { vfs }: Mount, dir: number, opts: { room: number; during?: () => Promise<unknown> }) {
  const { handle } = await lab.end(vfs.opendir(WHO, dir));
  let cookie = 0;
  for (;;) {
    let count = 0;
    await lab.end(
      vfs.readdir(handle, cookie, true, (entry) => {
        if (count === opts.room) return false;
        if (entry.found !== undefined) vfs.forget(entry.ino, 1);
        count++;
        cookie = entry.cookie;
        return true;
      }),
    );
    if (count === 0) break;
    await opts.during?.();
  }
  await lab.end(vfs.releasedir(handle));
}

async function folderOf(lab: Lab, { vfs }: Mount, count: number): Promise<number> {
  const dir = (await lab.end(vfs.mkdir(WHO, 1, name("dir"), 0o755, 0))).attr?.ino ?? 0;
  for (let i = 0; i < count; i++) await lab.end(vfs.mknod(WHO, dir, name(`f${i}`), 0o644, 0, 0));
  return dir;
}

void test("in a folder that was listed, names that do not exist are not asked for", async (t) => {
  const lab = new Lab();
  const dir = await folderOf(lab, lab.mount(), 300);
  const b = lab.mount({ idleInodes: 1000 });
  const there = async (text: string) => (await lab.end(b.vfs.lookup(WHO, dir, name(text)))).attr !== undefined;
  await lab.lookup(b, "dir");
  await read(lab, b, dir, { room: 7 });
  b.meta.calls.clear();
  t.same([await there("f"), await there("f0"), await there("f299"), await there("f300")], [false, true, true, false]);
  t.equal(b.meta.calls.get("lookup"), undefined);
  b.vfs.forget(dir, 1);
  t.equal(await lab.lookup(b, "dir"), dir);
  t.notOk(await there("g"), "also when the kernel had forgotten the folder");
  t.equal(b.meta.calls.get("lookup"), undefined);
});

void test("a folder that was not listed to its end, or changed meanwhile, is asked", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const dir = await folderOf(lab, a, 300);
  const changes = {
    "somebody else": () => lab.end(a.vfs.mknod(WHO, dir, name("new"), 0o644, 0, 0)),
    itself: () => lab.end(b.vfs.mknod(WHO, dir, name("new"), 0o644, 0, 0)),
  };
  let b = lab.mount();
  for (const [who, change] of Object.entries(changes)) {
    b = lab.mount();
    await lab.lookup(b, "dir");
    let isChanged = false;
    await read(lab, b, dir, {
      room: 200,
      during: async () => {
        if (!isChanged) await change();
        isChanged = true;
      },
    });
    b.meta.calls.clear();
    t.ok((await lab.end(b.vfs.lookup(WHO, dir, name("new")))).attr, who);
    await lab.end(b.vfs.lookup(WHO, dir, name("none")));
    t.equal(b.meta.calls.get("lookup"), who === "itself" ? 1 : 2, who);
    await lab.end(a.vfs.unlink(WHO, dir, name("new")));
  }
  b = lab.mount();
  await lab.lookup(b, "dir");
  const { handle } = await lab.end(b.vfs.opendir(WHO, dir));
  let cookie = 0;
  let count = 0;
  const take = (entry: { cookie: number }): boolean => {
    if (count++ === 100) return false;
    cookie = entry.cookie;
    return true;
  };
  await lab.end(b.vfs.readdir(handle, 0, false, take));
  // Goes on somewhere else.
  await lab.end(b.vfs.readdir(handle, cookie + 100, false, () => true));
  b.meta.calls.clear();
  await lab.end(b.vfs.lookup(WHO, dir, name("f120")));
  t.equal(b.meta.calls.get("lookup"), 1);
});

void test("a name that was removed and made again at the same time is looked for, whichever answer comes first", async (t) => {
  const lab = new Lab();
  const mount = lab.mount();
  const { vfs, meta } = mount;
  const dir = await folderOf(lab, mount, 1);
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  meta.after = (op) => (op === "unlink" ? held : undefined);
  const removed = vfs.unlink(WHO, dir, name("f0"));
  while (!meta.calls.has("unlink")) await lab.clock.advance(1);
  await lab.clock.advance(1000);
  const made = await lab.end(vfs.mknod(WHO, dir, name("f0"), 0o644, 0, 0));
  release();
  await lab.end(removed);
  t.equal((await lab.end(vfs.lookup(WHO, dir, name("f0")))).attr?.ino, made.attr?.ino);
});
