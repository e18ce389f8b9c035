import { mkdir, readdir, writeFile } from "node:fs/promises";
import fc from "fast-check";
import { test } from "tap";
import { StartupError } from "../../../../daemon/common/running.js";
import { headerOf, openBackup, rowsOf, writeDump } from "../../../../daemon/meta/backup/dump.js";
import { readFrames, writeFrames, type Frame } from "../../../../daemon/meta/backup/frames.js";
import { loadDump } from "../../../../daemon/meta/backup/load.js";
import { nextVolume } from "../../../../daemon/meta/backup/loaded.js";
import { key } from "../../../../daemon/meta/keys.js";
import { MemoryStore } from "../../../../daemon/meta/memory-store.js";
import { decodeRow, encodeRow } from "../../../../daemon/meta/row-codec.js";
import { openSqlite } from "../../../../daemon/meta/sqlite/sqlite-store.js";
import { BackupHeader } from "../../../../proto/gen/bigfs/v1/backup.js";
import { ChunkRow, SessionRow, SlotRow, VolumeRow } from "../../../../proto/gen/bigfs/v1/rows.js";

const VOLUME = VolumeRow.fromPartial({
  uuid: "v",
  incarnation: 3,
  nextIno: 3 * 2 ** 40 + 5,
  nextNode: 7,
  servedSec: 99,
});

/** A store with many rows, some of them large. */
function filled(): MemoryStore {
  const inline = Buffer.alloc(2000, "data");
  const rows: [string, Uint8Array][] = [
    [key.volume, encodeRow(key.volume, VOLUME)],
    [key.session(8), encodeRow(key.session(8), SessionRow.fromPartial({ id: 8, name: "lives" }))],
    [key.chunk(1), encodeRow(key.chunk(1), ChunkRow.fromPartial({ id: 1, refs: 1 }))],
    [key.chunk(2), encodeRow(key.chunk(2), ChunkRow.fromPartial({ id: 2, refs: 0 }))],
    [key.chunk(3), encodeRow(key.chunk(3), ChunkRow.fromPartial({ id: 3, refs: 0, garbage: true }))],
  ];
  for (let ino = 1; ino <= 2500; ino++) {
    const slot = SlotRow.fromPartial({ slices: [{ pos: ino, len: 2000, inline }] });
    rows.push([key.slot(ino, 0), encodeRow(key.slot(ino, 0), slot)]);
  }
  return new MemoryStore({}, rows);
}

async function dumpOf(store: MemoryStore): Promise<Buffer[]> {
  const rows = await store.snapshot();
  const header = await headerOf(rows, { created: { sec: 5, nsec: 0 }, seq: 4, life: "l" });
  return collect(writeDump(rows, header));
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** A file that comes in pieces of this size. */
async function* pieces(file: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < file.length; at += size) yield await Promise.resolve(file.subarray(at, at + size));
}

async function readAll(file: Buffer, size = 70_000) {
  const backup = await openBackup(pieces(file, size));
  return { header: backup.header, rows: (await collect(rowsOf(backup))).flat() };
}

test("a dump holds the rows of the moment at which it began, whatever is committed while it is written", async (t) => {
  for (const kind of ["memory", "SQLite"]) {
    const store = kind === "memory" ? filled() : await openSqlite(`${t.testdir()}/meta.db`);
    const before = await filled().scan({ from: "", to: "\xff", limit: Infinity });
    if (kind === "SQLite") {
      await store.commit({ puts: new Map(before.map((row) => [row.key, row.value])), dels: new Set() });
    }
    const rows = await store.snapshot();
    const parts: Buffer[] = [];
    for await (const part of writeDump(
      rows,
      await headerOf(rows, { created: { sec: 5, nsec: 0 }, seq: 4, life: "l" }),
    )) {
      parts.push(part);
      await store.commit({
        puts: new Map([[key.chunk(parts.length), Buffer.alloc(9)]]),
        dels: new Set([key.session(8)]),
      });
    }
    await rows.close();
    t.ok(parts.length > 8, "in several frames");
    const read = await readAll(Buffer.concat(parts));
    t.match(read.header, { volume: { uuid: "v", incarnation: 3 }, created: { sec: 5 }, seq: 4, life: "l" }, kind);
    t.same(
      read.rows.map((row) => [row.key, Buffer.from(row.value)]),
      before.map((row) => [row.key, Buffer.from(row.value)]),
    );
    await store.close();
  }
});

test("a dump with any byte changed, cut off anywhere, or with frames missing or out of place is refused", async (t) => {
  const parts = await dumpOf(filled());
  const file = Buffer.concat(parts);
  t.equal((await readAll(file, 1)).rows.length, 2505, "it is good, also in single bytes");
  const refused = async (bad: Buffer, what: string) => {
    const error: unknown = await readAll(bad).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if ((error as { errno?: string } | undefined)?.errno !== "EBADMSG") t.fail(`${what}: ${String(error)}`);
  };
  const at = fc.integer({ min: 0, max: file.length - 1 });
  await fc.assert(
    fc.asyncProperty(at, fc.integer({ min: 1, max: 255 }), async (place, change) => {
      const bad = Buffer.from(file);
      bad.writeUInt8(bad.readUInt8(place) ^ change, place);
      await refused(bad, `byte ${place} changed`);
      await refused(file.subarray(0, place), `cut at ${place}`);
    }),
    { numRuns: 60 },
  );
  for (const [i, part] of parts.entries()) {
    await refused(Buffer.concat(parts.toSpliced(i, 1)), `without part ${i}`);
    await refused(Buffer.concat(parts.toSpliced(i, 0, part)), `with part ${i} twice`);
    await refused(Buffer.concat(parts.slice(0, i)), `cut before part ${i}`);
  }
  await refused(Buffer.concat([file, Buffer.from("x")]), "something behind it");
  await refused(Buffer.from("SQLite format 3\0 and so on"), "another file");
  await refused(Buffer.alloc(0), "an empty file");
});

test("frames are read back as they were written; a count that is wrong and an order that is wrong are refused", async (t) => {
  const frames: Frame[] = [
    { kind: "header", payload: Buffer.from(BackupHeader.encode({ ...BASE, volume: VOLUME }).finish()) },
    { kind: "end", payload: Buffer.from([8, 1]) },
  ];
  const file = await collect(writeFrames(frames));
  t.same(await collect(readFrames(pieces(Buffer.concat(file), 3))), frames);
  await t.rejects(readAll(Buffer.concat(file)), /it has 0 rows, and its end says 1/);
});

const BASE = { format: 1, created: { sec: 1, nsec: 0 }, seq: 0, life: "" };

test("a dump of a newer build is refused with a way out", async (t) => {
  const header = BackupHeader.encode({ ...BASE, volume: VOLUME, format: 2 }).finish();
  const file = Buffer.concat(await collect(writeFrames([{ kind: "header", payload: Buffer.from(header) }])));
  const error: unknown = await readAll(file).catch((thrown: unknown) => thrown);
  t.ok(error instanceof StartupError);
  t.match(error, { message: /format 2, this build knows formats up to 1/, hint: /newer BigFS/ });
});

test("what is loaded is the next incarnation: new ids, no session, no cleaning, no chunk that nobody named (D34)", async (t) => {
  const folder = `${t.testdir()}/new`;
  const bytes = pieces(Buffer.concat(await dumpOf(filled())), 70_000);
  const loaded = await loadDump({ name: "d", bytes }, folder);
  t.match(loaded, { rows: 2505, created: 5, volume: { incarnation: 4 } });
  t.same(await readdir(folder), ["meta.db"]);
  const store = await openSqlite(`${folder}/meta.db`);
  const [volume, session, named, unnamed, garbage] = await store.load([
    key.volume,
    ...[key.session(8), key.chunk(1), key.chunk(2), key.chunk(3)],
  ]);
  const first = 4 * 2 ** 40;
  t.match(decodeRow(key.volume, volume ?? Buffer.alloc(0)), {
    ...{ uuid: "v", incarnation: 4, nextIno: first, nextChunk: first, nextSession: first, nextNode: 4000 },
    cleaningOff: true,
  });
  t.match(decodeRow(key.session(8), session ?? Buffer.alloc(0)), { ended: true, endedServedSec: 99 });
  t.ok(named);
  t.equal(unnamed, undefined);
  t.ok(garbage, "a recorded deletion stays one");
  t.equal((await store.scan({ from: "S", to: "T", limit: 9999 })).length, 2500);
  await store.close();
  t.throws(() => nextVolume(VOLUME, 3), /give a higher one/);
  t.throws(() => nextVolume(VOLUME, 8192), /at most 8191/);
  t.equal(nextVolume(VOLUME, 9).incarnation, 9);
});

test("of a dump that is damaged nothing is loaded, and a folder that is not new is left alone", async (t) => {
  const dir = t.testdir({ used: { "meta.db": "rows" }, other: { "photo.jpg": "" } });
  const file = Buffer.concat(await dumpOf(filled()));
  const load = (bad: Buffer, folder: string) =>
    loadDump({ name: "yesterday", bytes: pieces(bad, 70_000) }, `${dir}/${folder}`);
  const bad = Buffer.from(file);
  bad.writeUInt8(bad.readUInt8(file.length - 200) ^ 1, file.length - 200);
  await t.rejects(load(bad, "new"), { name: "StartupError", message: /^yesterday cannot be loaded: it is damaged/ });
  await t.rejects(load(file.subarray(0, -30), "new"), { name: "StartupError", message: /cut off/ });
  t.same((await readdir(dir)).sort(), ["other", "used"]);
  await t.rejects(load(file, "used"), { name: "StartupError", message: /has metadata already/ });
  await t.rejects(load(file, "other"), { name: "StartupError", message: /photo\.jpg/ });
  t.same(await readdir(`${dir}/other`), ["photo.jpg"]);
  await mkdir(`${dir}/crashed/loading`, { recursive: true });
  await writeFile(`${dir}/crashed/loading/meta.db`, "half of it");
  await load(file, "crashed");
  t.same(await readdir(`${dir}/crashed`), ["meta.db"], "what a crash left is replaced");
});
