import { test } from "tap";
import { LIMITS } from "../../../../proto/limits.js";
import type { Slice } from "../../../../proto/gen/bigfs/v1/rows.js";
import { isCrowded } from "../../../../daemon/meta/rules/slices.js";
import { NOBODY_SLICE, World } from "./world.js";

const slicesOf = (world: World, ino: number, slot = 0): Slice[] =>
  world.op("slots", { ino, first: slot, count: 1 }).slots[0]?.slices ?? [];

/** A file whose first slot (16 bytes) is "aabb....ccdd....", in four pieces. */
function pieces(): { world: World; ino: number; before: Slice[] } {
  const world = new World();
  const ino = world.make("f");
  world.write(ino, 0, Buffer.from("aa"));
  world.write(ino, 2, Buffer.from("bb"), { inline: true });
  world.write(ino, 8, Buffer.from("cc"));
  world.write(ino, 10, Buffer.from("dd"));
  world.truncate(ino, 40);
  return { world, ino, before: slicesOf(world, ino) };
}

function compacted(world: World): { chunk: number; after: Slice[] } {
  const chunk = world.store(Buffer.from("aabbccdd"));
  const slice = { ...NOBODY_SLICE, chunk, len: 4 };
  return {
    chunk,
    after: [
      { ...slice, pos: 0, off: 0 },
      { ...slice, pos: 8, off: 4 },
    ],
  };
}

function sync(world: World, chunk: number): void {
  for (const node of [1, 2]) world.synced(node, chunk);
}

test("the pieces of a slot become one chunk: same bytes, same holes, same times, and the old chunks are garbage", (t) => {
  const { world, ino, before } = pieces();
  t.equal(before.length, 4);
  const [content, inode] = [world.read(ino), world.inode(ino)];
  const { chunk, after } = compacted(world);
  sync(world, chunk);
  t.match(world.op("compact", { ino, slot: 0, before, after }), { done: true });
  t.same(world.read(ino), content);
  t.same(slicesOf(world, ino), after);
  const { version, ...rest } = world.inode(ino);
  t.same(rest, { ...rest, mtime: inode.mtime, ctime: inode.ctime, size: inode.size, stored: inode.stored });
  t.equal(version, inode.version + 1, "who knows the slices of the version before asks again");
  t.equal(world.rows.of("G").length, 3);
  t.end();
});

test("a slot that was changed after it was read is left as it is, and the new chunk is garbage", (t) => {
  const { world, ino, before } = pieces();
  world.write(ino, 3, Buffer.from("X"), { inline: true });
  const { chunk, after } = compacted(world);
  sync(world, chunk);
  t.match(world.op("compact", { ino, slot: 0, before, after }), { done: false });
  t.equal(world.read(ino).toString("latin1", 0, 4), "aabX");
  t.same(
    world.rows.of("G").map(([, row]) => row.chunk),
    [chunk],
  );
  t.end();
});

test("so is one that was cut off, also when it has grown again", (t) => {
  const { world, ino, before } = pieces();
  world.truncate(ino, 0);
  world.truncate(ino, 40);
  const { chunk, after } = compacted(world);
  sync(world, chunk);
  t.match(world.op("compact", { ino, slot: 0, before, after }), { done: false });
  t.same(world.read(ino), Buffer.alloc(40));
  t.end();
});

test("what is not synced, covers other bytes or is not there takes no place", (t) => {
  const { world, ino, before } = pieces();
  const { chunk, after } = compacted(world);
  const errno = (slices: Slice[]) => world.errno(() => world.op("compact", { ino, slot: 0, before, after: slices }));
  world.synced(1, chunk);
  t.equal(errno(after), "EAGAIN", "on one disk of two");
  sync(world, chunk);
  t.equal(errno(after.slice(0, 1)), "EINVAL");
  t.equal(errno(after.map((slice) => ({ ...slice, len: 5 }))), "EINVAL");
  t.equal(errno(after.map((slice) => ({ ...slice, off: 5 }))), "EIO", "shorter than that");
  t.equal(errno(after.map((slice) => ({ ...slice, chunk: chunk + 1 }))), "EIO");
  t.equal(errno(after.map((slice) => ({ ...slice, chunk: 0, inline: Buffer.from("abcd") }))), "EINVAL");
  world.readOnly = true;
  t.equal(errno(after), "EROFS");
  t.equal(slicesOf(world, ino).length, 4);
  t.end();
});

test("a slot is crowded when it has many pieces of which half would go; many holes alone are not", (t) => {
  const at = (pos: number): Slice => ({ ...NOBODY_SLICE, pos, len: 1, chunk: pos + 1 });
  const all = Array.from({ length: LIMITS.crowdedSlices }, (_, i) => i);
  t.ok(isCrowded(all.map(at)));
  t.notOk(isCrowded(all.slice(1).map(at)), "too few");
  t.notOk(isCrowded(all.map((i) => at(2 * i))), "each by itself");
  t.end();
});
