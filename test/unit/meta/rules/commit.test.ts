import { test } from "tap";
import { key } from "../../../../daemon/meta/keys.js";
import { LIMITS } from "../../../../proto/limits.js";
import { UNSYNCED_MAX, pruneUnsynced, unsyncedOf } from "../../../../daemon/meta/rules/unsynced.js";
import { ROOT, World } from "./world.js";

const text = (s: string): Buffer => Buffer.from(s);

test("bytes written before a truncation are cut at the smallest size since, also when the file has grown again", (t) => {
  const world = new World();
  const ino = world.make("f");
  world.write(ino, 0, text("0123456789"));
  const truncSeq = world.inode(ino).truncSeq;
  world.truncate(ino, 4);
  world.truncate(ino, 20);
  world.write(ino, 2, text("abcdefgh"), { truncSeq });
  t.equal(world.read(ino).toString("latin1"), "01ab" + "\0".repeat(16));
  world.write(ino, 2, text("ABCDEFGH"));
  t.equal(world.read(ino).toString("latin1"), "01ABCDEFGH" + "\0".repeat(10));
  t.end();
});

test("a truncation of a file whose bytes are still on their way cuts them too", (t) => {
  const world = new World();
  const ino = world.make("f");
  const { truncSeq } = world.inode(ino);
  world.truncate(ino, 0);
  world.write(ino, 0, text("late"), { truncSeq });
  t.equal(world.inode(ino).size, 0);
  t.equal(world.rows.of("G").length, 1, "the chunk that nothing is left of is on its way out");
  t.end();
});

test("a commit from before more truncations than are remembered is refused rather than guessed, if they touch it", (t) => {
  const world = new World();
  const ino = world.make("f");
  const before = world.inode(ino).truncSeq;
  for (let size = 10; size < 60; size++) world.truncate(ino, size);
  t.ok(world.inode(ino).cuts.length <= 32);
  world.write(ino, 0, text("x"), { truncSeq: before });
  t.equal(world.read(ino)[0], 0x78, "what none of them touched is taken");
  t.equal(
    world.errno(() => world.write(ino, 15, text("y"), { truncSeq: before + 3 })),
    "EIO",
  );
  t.end();
});

test("appends go to the end of the file as it is when they are committed, over the border of a slot", (t) => {
  const world = new World();
  const ino = world.make("f");
  world.write(ino, 0, text("0123456789"));
  world.commit(ino, { slices: world.chunkAt(0, text("abcdefghij")), append: true });
  world.commit(ino, { slices: world.inlineAt(0, text("klmnopqrstuvwxyz".repeat(2))), append: true });
  t.equal(world.read(ino).toString(), "0123456789abcdefghij" + "klmnopqrstuvwxyz".repeat(2));
  t.end();
});

test("a commit waits for M copies on live nodes, and has no effect until then", (t) => {
  const world = new World();
  const ino = world.make("f");
  world.deadNodes.add(2);
  t.equal(
    world.errno(() => world.write(ino, 0, text("data"))),
    "EAGAIN",
  );
  t.equal(world.inode(ino).size, 0);
  t.end();
});

test("a chunk that is unknown, too short, another session's or being deleted is refused", (t) => {
  const world = new World();
  const ino = world.make("f");
  const [at] = world.chunkAt(0, text("data"));
  if (at === undefined) throw new Error("one slice was asked for");
  const refused = (slice: object): string => {
    return world.errno(() => world.commit(ino, { slices: [{ slot: 0, slice: { ...at.slice, ...slice } }] }));
  };
  t.equal(refused({ chunk: 5 }), "EIO");
  t.equal(refused({ off: 1 }), "EIO");
  t.equal(refused({ len: 0 }), "EINVAL");
  t.equal(refused({ pos: 13 }), "EINVAL");
  t.equal(refused({ inline: text("data") }), "EINVAL");
  world.session = 8;
  t.equal(refused({}), "EIO");
  t.equal(world.inode(ino).size, 0);
  t.end();
});

test("inline bytes beyond the limit of a slot are refused, and the same bytes as a chunk are taken", (t) => {
  const world = new World({ chunkSize: 1024 * 1024 });
  const ino = world.make("f");
  const block = Buffer.alloc(LIMITS.inlineMax, 1);
  for (let off = 0; off < LIMITS.inlinePerSlotMax; off += block.length) world.write(ino, off, block, { inline: true });
  t.equal(
    world.errno(() => world.write(ino, LIMITS.inlinePerSlotMax, block, { inline: true })),
    "EFBIG",
  );
  world.write(ino, 0, Buffer.alloc(LIMITS.inlinePerSlotMax, 2));
  world.write(ino, LIMITS.inlinePerSlotMax, block, { inline: true });
  t.equal(world.inode(ino).size, LIMITS.inlinePerSlotMax + block.length);
  t.end();
});

test("small appends become one slice", (t) => {
  const world = new World({ chunkSize: 65536 });
  const ino = world.make("f");
  for (let i = 0; i < 200; i++) world.commit(ino, { slices: world.inlineAt(0, text("line\n")), append: true });
  t.equal(world.rows.get(key.slot(ino, 0))?.slices.length, 1);
  t.equal(world.read(ino).toString(), "line\n".repeat(200));
  t.end();
});

test("a commit takes the time of the write, but leaves a time that was set explicitly after it", (t) => {
  const world = new World();
  const ino = world.make("f");
  const at = (sec: number): { sec: number; nsec: number } => ({ sec, nsec: 0 });
  const write = (mtime: { sec: number; nsec: number } | undefined): number | undefined => {
    return world.commit(ino, { slices: world.inlineAt(0, text("x")), mtime }).attr?.mtime?.sec;
  };
  world.clock = 2000;
  t.equal(write(at(1990)), 1990);
  t.equal(write(at(1980)), 1990, "an older write that comes later moves nothing back");
  t.equal(write(undefined), 1990);
  t.equal(write(at(9999)), world.clock, "the future is not taken");
  const times = { atime: undefined, mtime: at(7), atimeNow: false, mtimeNow: false };
  const written = world.clock;
  world.op("setattr", { ino, ...times });
  t.equal(write(at(written)), 7);
  t.equal(write(at(world.clock)), world.clock - 1, "a write after it counts");
  t.end();
});

test("a commit sets attributes along, as of when that was told", (t) => {
  const world = new World();
  const ino = world.make("f");
  const at = (sec: number) => ({ sec, nsec: 0 });
  const none = { mode: undefined, uid: undefined, gid: undefined, size: undefined, atime: undefined, mtime: undefined };
  const set = { ...none, ino: 0, atimeNow: false, mtimeNow: false };
  const commit = (more: object) => world.commit(ino, { slices: world.inlineAt(0, text("x")), ...more }).attr;
  world.clock = 2000;
  const given = { ...set, mode: 0o4755, uid: 5, gid: 6, mtime: at(7) };
  const first = commit({ set: given, setAt: at(1990) });
  t.match(first, { ino, size: 1, mode: 0o104755, uid: 5, gid: 6, mtime: at(7), ctime: at(1990) });
  t.match(world.inode(ino), { version: first?.version, mode: 0o104755, mtime: at(7) });
  t.equal(commit({ mtime: at(1980) })?.mtime?.sec, 7, "what was written before leaves the time alone");
  t.equal(commit({ mtime: at(1995) })?.mtime?.sec, 1995, "what was written after does not");
  const late = commit({ set: { ...set, mode: 0o600 }, setAt: at(1980) });
  t.match(late, { mode: 0o104755, ctime: at(1995) }, "nothing is set when others have changed it since");
  t.equal(commit({ set, setAt: at(9999) })?.ctime?.sec, world.clock, "the future is not taken");
  const before = world.inode(ino);
  t.equal(
    world.errno(() => commit({ set: { ...set, size: 0 } })),
    "EINVAL",
  );
  t.same(world.inode(ino), before);
  t.end();
});

test("writing takes setuid away from whoever is not root", (t) => {
  const world = new World();
  const ino = world.make("f", { mode: 0o106777 });
  world.write(ino, 0, text("x"));
  t.equal(world.inode(ino).mode & 0o7777, 0o6777);
  world.who = { ...ROOT, uid: 1000 };
  world.write(ino, 0, text("x"));
  t.equal(world.inode(ino).mode & 0o7777, 0o777);
  t.end();
});

test("files too large and files that are none are refused", (t) => {
  const world = new World();
  const ino = world.make("f");
  const dir = world.make("d", { mode: 0o040755 });
  t.equal(
    world.errno(() => world.truncate(ino, LIMITS.fileSizeMax + 1)),
    "EFBIG",
  );
  t.equal(
    world.errno(() => world.write(ino, LIMITS.fileSizeMax, text("x"))),
    "EFBIG",
  );
  t.equal(
    world.errno(() => world.write(dir, 0, text("x"))),
    "EISDIR",
  );
  world.write(ino, LIMITS.fileSizeMax - 1, text("x"));
  t.equal(world.inode(ino).size, LIMITS.fileSizeMax);
  world.truncate(ino, 0);
  while (world.sweep(ino));
  t.same(world.rows.of("S"), []);
  t.end();
});

test("chunks of a file that are not synced are remembered until they are, and hold the deletion of what they replaced", (t) => {
  const world = new World();
  const ino = world.make("f");
  world.write(ino, 0, text("old"));
  world.write(ino, 0, text("new"));
  const [old] = world.rows.of("G").map(([, row]) => row.chunk);
  const [fresh, ...others] = world.rows.get(key.unsynced(ino))?.chunks ?? [];
  if (old === undefined || fresh === undefined) throw new Error("two chunks were written");
  t.same(others, [], "what is replaced need not be synced");
  t.not(fresh, old);
  t.equal(world.beginDelete(old), undefined);
  for (const node of [1, 2]) world.synced(node, fresh);
  t.same(world.beginDelete(old), [1, 2, 3]);
  t.end();
});

test("an fsync waits for what is not synced on M nodes, and for nothing twice", (t) => {
  const world = new World();
  const ino = world.make("f");
  for (let i = 0; i < 100; i++) world.write(ino, i * 8, text(`${i}`));
  const unsynced = (): readonly number[] => world.rows.run((tx) => unsyncedOf(tx, ino));
  const all = unsynced();
  t.equal(all.length, 100);
  for (const chunk of all.slice(10)) world.synced(1, chunk);
  t.same(unsynced(), all, "one copy is not enough");
  for (const chunk of all.slice(10)) world.synced(2, chunk);
  t.same(unsynced(), all.slice(0, 10));
  world.truncate(ino, 0);
  t.same(unsynced(), []);
  t.equal(world.rows.get(key.unsynced(ino)), undefined);
  t.end();
});

test("commits wait when storage is too far behind with syncing", (t) => {
  const world = new World({ chunkSize: 65536 });
  const ino = world.make("f");
  for (let i = 0; i < UNSYNCED_MAX; i += 256) {
    const slices = Array.from({ length: 256 }, (_, n) => world.chunkAt(i + n, text("x")));
    world.commit(ino, { slices: slices.flat() });
  }
  t.equal(
    world.errno(() => world.write(ino, UNSYNCED_MAX, text("x"))),
    "EAGAIN",
  );
  const [first] = world.rows.run((tx) => unsyncedOf(tx, ino));
  for (const node of [1, 2]) world.synced(node, first ?? 0);
  world.rows.run((tx) => pruneUnsynced(tx, ino));
  world.write(ino, UNSYNCED_MAX, text("x"));
  t.equal(world.inode(ino).size, UNSYNCED_MAX + 1);
  t.end();
});
