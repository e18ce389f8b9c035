import { test } from "tap";
import type { Listed } from "../../../../mount/vfs/filesystem.js";
import { Lab, type Mount, WHO, name } from "./lab.js";

async function fill(lab: Lab, mount: Mount, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await lab.end(mount.vfs.mknod(WHO, 1, name(`f${i}`), 0o644, 0, 0));
}

/** As the kernel does it: each call has room for `room` entries, and goes on after the last cookie. */
async function list(
  lab: Lab,
  mount: Mount,
  handle: number,
  opts: { room: number; plus: boolean; from?: number },
): Promise<Listed[]> {
  const all: Listed[] = [];
  let cookie = opts.from ?? 0;
  for (;;) {
    const got: Listed[] = [];
    await lab.end(
      mount.vfs.readdir(handle, cookie, opts.plus, (entry) => {
        if (got.length === opts.room) return false;
        got.push(entry);
        return true;
      }),
    );
    if (got.length === 0) return all;
    all.push(...got);
    cookie = got.at(-1)?.cookie ?? cookie;
  }
}

void test("a big folder is listed completely, each entry once, in few requests", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  await fill(lab, a, 2500);
  const b = lab.mount();
  for (const plus of [false, true]) {
    const { handle } = await lab.end(b.vfs.opendir(WHO, 1));
    b.meta.calls.clear();
    const seen = await list(lab, b, handle, { room: 37, plus });
    t.same(
      seen.map((entry) => entry.name),
      [".", "..", ...Array.from({ length: 2500 }, (_, i) => `f${i}`)],
    );
    t.same(
      seen.slice(0, 2).map(({ ino, cookie, found }) => ({ ino, cookie, found })),
      [
        { ino: 1, cookie: 1, found: undefined },
        { ino: 1, cookie: 2, found: undefined },
      ],
    );
    t.ok(seen.slice(2).every((entry) => (entry.found?.attr?.ino === entry.ino) === plus));
    t.ok((b.meta.calls.get("readdir") ?? 0) <= 4, `${b.meta.calls.get("readdir")} requests`);
    await lab.end(b.vfs.releasedir(handle));
  }
});

void test("a listing goes on from any cookie, also one that was seen long ago", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  await fill(lab, a, 500);
  const { handle } = await lab.end(a.vfs.opendir(WHO, 1));
  const seen = await list(lab, a, handle, { room: 100, plus: false });
  for (const at of [400, 10, 0, 130, 501]) {
    const rest = await list(lab, a, handle, { room: 1000, plus: false, from: seen[at]?.cookie ?? 0 });
    t.same(
      rest.map((entry) => entry.name),
      seen.slice(at + 1).map((entry) => entry.name),
      `after entry ${at}`,
    );
  }
});

void test("a folder that is rewound shows what was made since", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { handle } = await lab.end(a.vfs.opendir(WHO, 1));
  t.equal((await list(lab, a, handle, { room: 10, plus: true })).length, 2);
  await fill(lab, a, 3);
  t.equal((await list(lab, a, handle, { room: 10, plus: true })).length, 5);
});

void test("entries that the kernel took with attributes are references; the others are not", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  await fill(lab, a, 10);
  const b = lab.mount();
  const { handle } = await lab.end(b.vfs.opendir(WHO, 1));
  const taken: Listed[] = [];
  await lab.end(
    b.vfs.readdir(handle, 0, true, (entry) => {
      if (taken.length === 5) return false;
      taken.push(entry);
      return true;
    }),
  );
  const inodes = taken.filter((entry) => entry.found !== undefined).map((entry) => entry.ino);
  t.equal(inodes.length, 3, "without . and ..");
  const count = async (): Promise<string> => b.registry.getSingleMetricAsString("bigfs_mount_inodes");
  t.match(await count(), /bigfs_mount_inodes 3$/m);
  b.meta.calls.clear();
  for (const entry of taken.slice(2)) t.equal(await lab.lookup(b, entry.name), entry.ino);
  t.equal(b.meta.calls.get("lookup"), undefined, "their names are known");
  await lab.end(b.vfs.releasedir(handle));
  for (const ino of inodes) b.vfs.forget(ino, 2);
  t.match(await count(), /bigfs_mount_inodes 0$/m);
  await lab.clock.advance(2000);
  t.same(
    [...b.meta.leases].filter((lease) => lease.startsWith("I")),
    [],
    "nothing of the others is cached either",
  );
});

void test("attributes in a listing that was fetched before a change are not shown after it", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const b = lab.mount();
  await fill(lab, a, 3);
  const { handle } = await lab.end(b.vfs.opendir(WHO, 1));
  let first: Listed | undefined;
  await lab.end(
    b.vfs.readdir(handle, 0, true, (entry) => {
      if (entry.cookie > 2) return false;
      first = entry;
      return true;
    }),
  );
  t.equal(first?.name, "..");
  const ino = await lab.lookup(a, "f1");
  await lab.end(a.vfs.setattr(WHO, ino, { mode: 0o600 }));
  await lab.end(a.vfs.unlink(WHO, 1, name("f2")));
  const seen = await list(lab, b, handle, { room: 10, plus: true, from: 2 });
  t.same(
    seen.map((entry) => [entry.name as string, entry.found !== undefined]),
    [
      ["f0", true],
      ["f1", false],
      ["f2", false],
    ],
    "to be looked up",
  );
});

void test("a folder that is read again at once is not asked for again, as long as nothing in it has changed", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const other = lab.mount();
  await fill(lab, a, 3);
  const look = async (plus = true) => {
    await lab.end(a.vfs.getattr(WHO, 1));
    const { handle } = await lab.end(a.vfs.opendir(WHO, 1));
    a.meta.calls.clear();
    const seen = await list(lab, a, handle, { room: 10, plus });
    await lab.end(a.vfs.releasedir(handle));
    return { names: seen.slice(2).map((entry) => entry.name), seen, asked: a.meta.calls.get("readdir") ?? 0 };
  };
  const names = ["f0", "f1", "f2"];
  t.match(await look(), { names, asked: 1 });
  t.match(await look(), { names, asked: 0 });
  t.match(await look(false), { names, asked: 0 });

  await lab.end(a.vfs.unlink(WHO, 1, name("f0")));
  t.match(await look(), { names: ["f1", "f2"], asked: 1 }, "an own change");
  await lab.end(a.vfs.mknod(WHO, 1, name("new"), 0o644, 0, 0));
  t.match(await look(), { names: ["f1", "f2", "new"], asked: 1 });
  await lab.end(other.vfs.unlink(WHO, 1, name("f1")));
  t.match(await look(), { names: ["f2", "new"] }, "a change of another mount");

  const { ino } = (await look()).seen[2]!;
  await lab.end(other.vfs.setattr(WHO, ino, { mode: 0o600 }));
  const shown = (await look()).seen[2]?.found;
  t.ok(shown === undefined || ((shown.attr?.mode ?? 0) & 0o777) === 0o600, "attributes of before are not shown");

  await look();
  await lab.clock.advance(2_000);
  t.match(await look(), { names: ["f2", "new"], asked: 1 }, "it is not kept for long");
});

void test("what is kept of a folder that was not watched when it was read is not shown again", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const other = lab.mount();
  await fill(lab, other, 2);
  const { handle } = await lab.end(a.vfs.opendir(WHO, 1));
  t.equal((await list(lab, a, handle, { room: 10, plus: true })).length, 4);
  await lab.end(other.vfs.unlink(WHO, 1, name("f0")));
  await lab.end(a.vfs.releasedir(handle));
  await lab.end(a.vfs.getattr(WHO, 1));
  const again = await lab.end(a.vfs.opendir(WHO, 1));
  t.equal((await list(lab, a, again.handle, { room: 10, plus: true })).length, 3);
});
