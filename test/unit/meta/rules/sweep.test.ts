import { test } from "tap";
import { key } from "../../../../daemon/meta/keys.js";
import { checkData } from "./data-invariants.js";
import { World } from "./world.js";

const SLOTS = 300;

function bigFile(world: World): number {
  const ino = world.make("f");
  world.write(ino, 0, Buffer.alloc(SLOTS * 16, 1));
  return ino;
}

function slotsLeft(world: World): number {
  return world.rows.of("S").length;
}

test("a big file that is truncated reads as zeros at once, and its slots go in steps", (t) => {
  const world = new World();
  const ino = bigFile(world);
  world.truncate(ino, 5);
  t.ok(slotsLeft(world) > 200, "most of it is left to the sweep");
  world.truncate(ino, SLOTS * 16);
  t.equal(
    world.read(ino).findLastIndex((byte) => byte !== 0),
    4,
  );
  let steps = 0;
  while (world.sweep(ino)) steps += 1;
  t.ok(steps > 2);
  t.equal(slotsLeft(world), 1);
  t.equal(world.inode(ino).stored, 5);
  t.equal(world.rows.get(key.sweep(ino)), undefined);
  checkData(world);
  t.end();
});

test("what is written where the sweep still has to go stays, whichever comes first", (t) => {
  for (const stepsBefore of [0, 1, 3]) {
    const world = new World();
    const ino = bigFile(world);
    world.truncate(ino, 0);
    for (let i = 0; i < stepsBefore; i++) world.sweep(ino);
    world.write(ino, 160 * 16 + 3, Buffer.from("kept"));
    while (world.sweep(ino));
    t.equal(
      world
        .read(ino)
        .subarray(160 * 16 + 3)
        .toString(),
      "kept",
    );
    t.equal(slotsLeft(world), 1);
    checkData(world);
  }
  t.end();
});

test("truncating again, elsewhere, before the first sweep is done brings nothing back", (t) => {
  const world = new World();
  const ino = bigFile(world);
  world.truncate(ino, 0);
  world.write(ino, 100 * 16, Buffer.alloc(200 * 16, 2));
  world.truncate(ino, 110 * 16);
  world.truncate(ino, SLOTS * 16);
  const expected = Buffer.alloc(SLOTS * 16);
  expected.fill(2, 100 * 16, 110 * 16);
  t.ok(world.read(ino).equals(expected));
  while (world.sweep(ino));
  t.ok(world.read(ino).equals(expected));
  t.equal(slotsLeft(world), 10);
  checkData(world);
  t.end();
});

test("a listing from before another truncation does nothing", (t) => {
  const world = new World();
  const ino = bigFile(world);
  world.truncate(ino, 0);
  const work = world.sweepWork(ino);
  world.write(ino, 0, Buffer.alloc(SLOTS * 16, 3));
  world.truncate(ino, 10 * 16);
  if (work === undefined) throw new Error("there is work");
  world.sweepStep(work, { slots: [], upTo: work.end });
  while (world.sweep(ino));
  t.equal(slotsLeft(world), 10, "all that was cut off is gone");
  checkData(world);
  t.end();
});

test("a hole punched through a big file leaves both ends", (t) => {
  const world = new World();
  const ino = bigFile(world);
  world.op("fallocate", { ino, off: 20, len: 250 * 16, mode: 3 });
  const expected = Buffer.alloc(SLOTS * 16, 1).fill(0, 20, 20 + 250 * 16);
  t.ok(world.read(ino).equals(expected));
  while (world.sweep(ino));
  t.ok(world.read(ino).equals(expected));
  t.equal(slotsLeft(world), 51);
  checkData(world);
  t.end();
});

test("a big file is gone when its last name is, and its slots follow, those of earlier truncations too", (t) => {
  const world = new World();
  const ino = bigFile(world);
  world.truncate(ino, 32);
  world.sweep(ino);
  world.op("unlink", { dir: 1, name: Buffer.from("f") });
  t.equal(world.rows.get(key.inode(ino)), undefined);
  t.same(world.rows.get(key.usage), { inodes: 1, bytes: 0 });
  while (world.sweep(ino));
  t.equal(slotsLeft(world), 0);
  t.ok(world.rows.of("K").every(([, chunk]) => chunk.garbage));
  checkData(world);
  t.end();
});

/** A file of these slots, each of 1,000 bytes that are each a chunk of their own. */
function fragmented(world: World, slots: number): number {
  const ino = world.make("f");
  for (let slot = 0; slot < slots; slot++) {
    for (let pos = 0; pos < 1000; pos += 250) {
      const slices = Array.from({ length: 250 }, (_, i) => world.chunkAt(slot * 4096 + pos + i, Buffer.from([1])));
      world.commit(ino, { slices: slices.flat() });
    }
  }
  return ino;
}

test("slots of more chunks than one operation may change are truncated and removed in steps", (t) => {
  for (const remove of [false, true]) {
    const world = new World({ chunkSize: 4096 });
    const ino = fragmented(world, 3);
    if (remove) world.op("unlink", { dir: 1, name: Buffer.from("f") });
    else world.truncate(ino, 100);
    checkData(world);
    while (world.sweep(ino)) checkData(world);
    t.equal(slotsLeft(world), remove ? 0 : 1);
    t.equal(world.rows.of("G").length, remove ? 3000 : 2900);
    t.equal(world.rows.get(key.sweep(ino)), undefined);
  }
  t.end();
});

test("slots of more chunks than one operation may change are overwritten at once, and let go of in steps", (t) => {
  const world = new World({ chunkSize: 4096 });
  const ino = fragmented(world, 3);
  const data = Buffer.alloc(3 * 4096, 2);
  world.write(ino, 0, data);
  t.ok(world.read(ino).equals(data));
  t.ok(world.inode(ino).sweeping);
  checkData(world);
  world.sweep(ino);
  world.write(ino, 4000, Buffer.from("more"));
  data.write("more", 4000);
  while (world.sweep(ino)) checkData(world);
  t.ok(world.read(ino).equals(data));
  t.equal(world.rows.of("G").length, 3000);
  t.notOk(world.inode(ino).sweeping);
  checkData(world);
  t.end();
});
