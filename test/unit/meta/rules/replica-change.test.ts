import { test } from "tap";
import { key } from "../../../../daemon/meta/keys.js";
import { isDir } from "../../../../daemon/meta/rules/modes.js";
import { changeEntries, changeSlots, setReplicas, wantCopies } from "../../../../daemon/meta/rules/replica-change.js";
import { wantedOf } from "../../../../daemon/meta/rules/replicas.js";
import { ROOT_INO } from "../../../../daemon/meta/rules/volume.js";
import { World, bytes } from "./world.js";

const VOLUME = { replicas: 2, minReplicas: 2 };
const FOLDER = 0o040755;

/** Two entries or slots of the first piece of work that there is; false: there is none. */
function step(world: World, size = 2): boolean {
  const [first] = world.rows.of("B");
  if (first === undefined) return false;
  const [, work] = first;
  const inode = world.rows.get(key.inode(work.ino));
  const listed = (at: string) => parseInt(at.slice(15), 16);
  if (inode !== undefined && isDir(inode)) {
    const range = { from: key.cookie(work.ino, work.done + 1), to: key.cookie(work.ino + 1, 0) };
    const found = world.rows.of("C").filter(([at]) => at >= range.from && at < range.to);
    const page = found.slice(0, size);
    const done = found.length > size ? listed(page.at(-1)?.[0] ?? "") : undefined;
    world.rows.run((tx) => changeEntries(tx, work, { inos: page.map(([, row]) => row.ino), done }));
    return true;
  }
  const range = { from: key.slot(work.ino, work.done), to: key.slot(work.ino + 1, 0) };
  const found = world.rows.of("S").filter(([at]) => at >= range.from && at < range.to);
  const slots = found.slice(0, size).map(([at]) => listed(at));
  const done = found.length > size ? (slots.at(-1) ?? 0) + 1 : undefined;
  world.rows.run((tx) => changeSlots(tx, work, { slots, done }));
  return true;
}

function workOff(world: World): void {
  for (let steps = 0; step(world); steps++) if (steps > 1000) throw new Error("it does not end");
}

const set = (world: World, ino: number, replicas: number) => world.rows.run((tx) => setReplicas(tx, ino, replicas));

/** What each chunk of the file wants, without repetitions. */
function wanted(world: World, ino: number): number[] {
  const slots = world.rows.of("S").filter(([at]) => at.startsWith(key.slot(ino, 0).slice(0, 15)));
  const ids = new Set(slots.flatMap(([, row]) => row.slices.map(({ chunk }) => chunk)));
  const counts = [...ids].flatMap((id) => world.rows.get(key.chunk(id)) ?? []).map((row) => wantedOf(row, VOLUME));
  return [...new Set(counts)];
}

const countOf = (world: World, ino: number) => world.inode(ino).replicas ?? 0;

test("what is made in a folder has its count, a rename keeps it, and what has no chunks has none", (t) => {
  const world = new World({ cold: true });
  const dir = world.make("dir", { mode: FOLDER });
  set(world, dir, 3);
  const below = world.make("below", { dir, mode: FOLDER });
  const file = world.make("file", { dir: below });
  const link = world.make("link", { dir, mode: 0o120777, target: "x" });
  t.same(
    [dir, below, file, link].map((ino) => countOf(world, ino)),
    [3, 3, 3, 0],
  );
  t.equal(world.op("getattr", { ino: file }).attr?.replicas, 3);
  world.op("rename", {
    fromDir: below,
    fromName: bytes("file"),
    intoDir: ROOT_INO,
    intoName: bytes("file"),
    noReplace: false,
    exchange: false,
  });
  t.equal(countOf(world, file), 3);
  t.equal(countOf(world, world.make("plain")), 0);
  world.write(file, 0, Buffer.alloc(40, 1));
  t.same(wanted(world, file), [3]);
  t.equal(
    world.errno(() => set(world, link, 3)),
    "EINVAL",
  );
  for (const wrong of [17, -1, 1.5])
    t.equal(
      world.errno(() => set(world, dir, wrong)),
      "EINVAL",
    );
  t.equal(
    world.errno(() => set(world, 999, 2)),
    "ESTALE",
  );
  t.end();
});

test("a change reaches everything below, in steps that may be interrupted and repeated", (t) => {
  const world = new World({ cold: true });
  const top = world.make("top", { mode: FOLDER });
  const files: number[] = [];
  for (let d = 0; d < 3; d++) {
    const dir = world.make(`d${d}`, { dir: top, mode: FOLDER });
    for (let f = 0; f < 5; f++) {
      const file = world.make(`f${f}`, { dir });
      for (let slot = 0; slot < 5; slot++) world.write(file, slot * 16, Buffer.alloc(16, f));
      files.push(file);
    }
  }
  const outside = world.make("outside");
  world.write(outside, 0, Buffer.alloc(16, 1));
  set(world, top, 1);
  workOff(world);
  t.same(
    files.map((file) => [countOf(world, file), wanted(world, file)]),
    files.map(() => [1, [1]]),
  );
  t.same([countOf(world, outside), wanted(world, outside)], [0, [2]]);
  set(world, top, 4);
  for (let i = 0; i < 7; i++) step(world);
  const [, half] = world.rows.of("B")[0] ?? [];
  set(world, top, 0);
  workOff(world);
  if (half !== undefined) world.rows.run((tx) => changeSlots(tx, half, { slots: [0], done: undefined }));
  t.same(
    files.map((file) => [countOf(world, file), wanted(world, file)]),
    files.map(() => [0, [2]]),
  );
  t.same(world.rows.of("B"), []);
  t.end();
});

test("a change does not undo a later one of a folder that it comes to afterwards", (t) => {
  const world = new World();
  const top = world.make("top", { mode: FOLDER });
  const inner = world.make("inner", { dir: top, mode: FOLDER });
  const file = world.make("file", { dir: inner });
  world.write(file, 0, Buffer.alloc(16, 1));
  set(world, top, 3);
  set(world, inner, 1);
  workOff(world);
  t.same(
    [top, inner, file].map((ino) => countOf(world, ino)),
    [3, 1, 1],
  );
  t.same(wanted(world, file), [1]);
  t.end();
});

test("a chunk that files share keeps the highest count", (t) => {
  const world = new World();
  const [one, two] = [world.make("one"), world.make("two")];
  world.write(one, 0, Buffer.alloc(16, 1));
  set(world, two, 3);
  world.op("copyrange", { fromIno: one, fromOff: 0, intoIno: two, intoOff: 0, len: 16 });
  t.same(wanted(world, one), [3]);
  set(world, one, 1);
  workOff(world);
  t.same(wanted(world, one), [3], "it is lowered for one of them alone");
  set(world, two, 1);
  workOff(world);
  t.same(wanted(world, one), [3], "and a shared one is not lowered: nobody knows what the other wants");
  const [low, plain] = [world.make("low"), world.make("plain")];
  set(world, low, 1);
  world.write(low, 0, Buffer.alloc(16, 1));
  world.op("copyrange", { fromIno: low, fromOff: 0, intoIno: plain, intoOff: 0, len: 16 });
  t.same(wanted(world, low), [2], "the volume's count counts, too");
  const [row] = world.rows.of("K").slice(-1);
  t.equal(row === undefined ? 0 : wantedOf(row[1], { replicas: 5 }), 5, "whatever it will be");
  t.end();
});

test("of a file that wants fewer copies than a write waits for, it waits for as many", (t) => {
  const world = new World();
  const file = world.make("file");
  world.deadNodes.add(2);
  t.equal(
    world.errno(() => world.write(file, 0, Buffer.alloc(16, 1))),
    "EAGAIN",
  );
  set(world, file, 1);
  world.write(file, 0, Buffer.alloc(16, 2));
  const slices = world.chunkAt(0, Buffer.alloc(16, 3));
  const chunk = slices[0]?.slice.chunk ?? 0;
  world.rows.run((tx) => wantCopies(tx, file, [chunk]));
  t.equal(world.rows.get(key.chunk(chunk))?.wanted, 1);
  world.commit(file, { slices, sizeAtLeast: 16 });
  world.rows.run((tx) => wantCopies(tx, file, [chunk]));
  world.synced(1, chunk);
  t.same(wanted(world, file), [1]);
  t.end();
});
