import { randomBytes } from "node:crypto";
import { closeSync, constants, openSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { Layout } from "../../../daemon/common/chunks/layout.js";
import { DirectReads } from "../../../daemon/store/direct-read.js";
import { nodeDisk, type Disk } from "../../../daemon/store/disk.js";
import { chunkOf, openStore } from "./chunks.js";
import { MemoryDisk } from "./memory-disk.js";

const KiB = 1024;
const MiB = 1024 * KiB;
/** Has a name and gives bytes, but not around the page cache. */
const REFUSES = "/proc/self/comm";
const FROM_DISK = { fromDisk: true };

/** Whether the filesystem of the tests has direct reads. */
function hasDirect(path: string): boolean {
  try {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_DIRECT));
    return true;
  } catch {
    return false;
  }
}

test("files of any size are read from the disk as they are, up to where they end", async (t) => {
  const reads = new DirectReads();
  const folder = t.testdir();
  for (const size of [0, 1, 4095, 4096, 4097, MiB, MiB + 108, 17 * 64 * KiB, 17 * 64 * KiB + 1, 3 * MiB + 7]) {
    const bytes = randomBytes(size);
    const path = join(folder, `${size}`);
    await writeFile(path, bytes);
    const can = hasDirect(path);
    for (const len of [size + 1, size, size >> 1]) {
      const expected = bytes.subarray(0, len);
      const read = await reads.read(path, { off: 0, len });
      t.ok(can ? read?.equals(expected) : read === undefined, `${len} of ${size} bytes`);
      const [same] = await nodeDisk.read(path, [{ off: 0, len }], FROM_DISK);
      t.ok(same?.equals(expected));
    }
  }
});

test("many at once are not mixed up", async (t) => {
  const folder = t.testdir();
  const all = Array.from({ length: 40 }, (_, i) => Buffer.alloc(300 * KiB + i, i + 1));
  await Promise.all(all.map((bytes, i) => writeFile(join(folder, `${i}`), bytes)));
  const read = await Promise.all(
    all.map((_, i) => nodeDisk.read(join(folder, `${i}`), [{ off: 0, len: MiB }], FROM_DISK)),
  );
  for (const [i, bytes] of all.entries()) t.ok(read[i]?.[0]?.equals(bytes), `file ${i}`);
});

test("where the filesystem refuses they are read as ever; what is not there is told", async (t) => {
  t.equal(await new DirectReads().read(REFUSES, { off: 0, len: 100 }), undefined);
  const [bytes] = await nodeDisk.read(REFUSES, [{ off: 0, len: 100 }], FROM_DISK);
  t.ok(bytes?.equals(await readFile(REFUSES)));
  await t.rejects(nodeDisk.read(join(t.testdir(), "none"), [{ off: 0, len: 1 }], FROM_DISK), { code: "ENOENT" });
});

test("what verifies a chunk looks at the disk, both times when it finds it bad; what serves it looks where it is sooner", async (t) => {
  const disk = new MemoryDisk();
  const looks: boolean[] = [];
  const read = disk.read.bind(disk);
  disk.read = (...[path, ranges, how]: Parameters<Disk["read"]>) => {
    looks.push(how?.fromDisk === true);
    return read(path, ranges);
  };
  const store = await openStore(disk);
  await store.put(chunkOf(5, 100_000));
  looks.length = 0;
  await store.verify(5);
  t.same(looks, [true]);
  looks.length = 0;
  await store.get(5, 0, 100_000);
  t.notOk(looks.includes(true));
  looks.length = 0;
  const path = new Layout("/data").pathOf(5);
  const bytes = Buffer.from(disk.peek(path));
  bytes.writeUInt8(bytes.readUInt8(9000) ^ 1, 9000);
  disk.poke(path, bytes);
  await t.rejects(store.verify(5), /bad checksum/);
  t.same(looks, [true, true]);
  t.equal(store.entry(5), undefined);
});
