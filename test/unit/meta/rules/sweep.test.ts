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

test("a file with more chunks in its slots than one operation may change is swept too", (t) => {
  const world = new World({ chunkSize: 4096 });
  const ino = world.make("f");
  for (let round = 0; round < 20; round++) {
    for (let off = 0; off < 4096 * 3; off += 400) world.write(ino, off + round * 20, Buffer.alloc(20, round));
  }
  world.truncate(ino, 0);
  while (world.sweep(ino));
  t.equal(slotsLeft(world), 0);
  checkData(world);
  t.end();
});
