import { randomBytes } from "node:crypto";
import { closeSync, constants, openSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { nodeDisk } from "../../../daemon/store/disk.js";
import { ALIGNMENT } from "../../../daemon/store/aligned-slots.js";
import { DirectWrites } from "../../../daemon/store/direct-write.js";

const KiB = 1024;
const MiB = 1024 * KiB;
/** Has a name and takes bytes, but not around the page cache. */
const REFUSES = "/proc/self/comm";

async function empty(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, "");
  return path;
}

/** Whether the filesystem of the tests has direct writes. */
function hasDirect(path: string): boolean {
  try {
    closeSync(openSync(path, constants.O_WRONLY | constants.O_DIRECT));
    return true;
  } catch {
    return false;
  }
}

test("files of any size and in any parts hold what they were made with, and their fsync succeeds", async (t) => {
  const folder = t.testdir();
  const sizes = [0, 1, 256 * KiB - 1, 256 * KiB, 256 * KiB + 1, MiB - 100, MiB, MiB + 100, 3 * MiB + ALIGNMENT + 7];
  for (const size of sizes) {
    for (const cut of [0, Math.min(100, size), size >> 1, size]) {
      const bytes = randomBytes(size);
      const path = join(folder, `${size}-${cut}`);
      const file = await nodeDisk.create(path, [bytes.subarray(0, cut), bytes.subarray(cut)]);
      await file.sync();
      file.close();
      t.ok((await readFile(path)).equals(bytes), `${size} bytes cut at ${cut}`);
    }
  }
});

test("what is large goes around the page cache up to its last whole block, what is small does not", async (t) => {
  const direct = new DirectWrites();
  const path = await empty(t.testdir(), "f");
  const can = hasDirect(path);
  t.equal(await direct.write(path, [Buffer.alloc(100), Buffer.alloc(MiB)]), can ? MiB : 0);
  t.equal(await direct.write(path, [Buffer.alloc(100), Buffer.alloc(ALIGNMENT)]), 0);
});

test("many at once are not mixed up", async (t) => {
  const folder = t.testdir();
  const all = Array.from({ length: 40 }, (_, i) => Buffer.alloc(300 * KiB + i, i + 1));
  const files = await Promise.all(all.map((bytes, i) => nodeDisk.create(join(folder, `${i}`), [bytes])));
  for (const file of files) file.close();
  for (const [i, bytes] of all.entries()) t.ok((await readFile(join(folder, `${i}`))).equals(bytes), `file ${i}`);
});

test("a filesystem that has no such writes is not asked again", async (t) => {
  const direct = new DirectWrites();
  const path = await empty(t.testdir(), "f");
  t.equal(await direct.write(REFUSES, [Buffer.alloc(MiB)]), 0);
  t.equal(await direct.write(path, [Buffer.alloc(MiB)]), 0);
});

test("other errors are the caller's, however many there were, and later writes succeed", async (t) => {
  const direct = new DirectWrites();
  const folder = t.testdir();
  const missing = join(folder, "missing");
  for (let i = 0; i < 20; i++) await t.rejects(direct.write(missing, [Buffer.alloc(MiB)]), { code: "ENOENT" });
  const path = await empty(folder, "f");
  t.equal(await direct.write(path, [Buffer.alloc(MiB)]), hasDirect(path) ? MiB : 0);
});
