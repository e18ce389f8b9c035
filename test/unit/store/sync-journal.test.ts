import fc from "fast-check";
import { test } from "tap";
import { SyncJournal } from "../../../daemon/store/sync-journal.js";
import { silent } from "./chunks.js";
import { MemoryDisk } from "./memory-disk.js";

const chunk = fc.record({ id: fc.nat(2 ** 50), len: fc.nat(4 << 20), crc: fc.integer({ min: 0, max: 0xffffffff }) });

test("a damaged or cut journal gives its records up to the damage and never a wrong one", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(chunk, { minLength: 1, maxLength: 20 }),
      fc.nat(),
      fc.nat(255),
      async (chunks, where, change) => {
        const disk = new MemoryDisk();
        const journal = new SyncJournal({ disk, log: silent }, "/journal");
        await journal.synced(chunks);
        const bytes = disk.peek("/journal");
        const at = where % bytes.length;
        if (change === 0) disk.poke("/journal", bytes.subarray(0, at));
        else bytes[at] = (bytes[at] ?? 0) ^ change;
        const found: unknown[] = [];
        await journal.read((record) => found.push(record));
        t.same(found, chunks.slice(0, Math.floor(at / 24)));
      },
    ),
    { numRuns: 50 },
  );
});

test("after an append that failed nothing more follows what may be half a record", async (t) => {
  const disk = new MemoryDisk();
  const journal = new SyncJournal({ disk, log: silent }, "/journal");
  await journal.synced([{ id: 1, len: 1, crc: 1 }]);
  disk.verdict = (label) => (label === "append" ? { code: "ENOSPC" } : "do");
  await journal.synced([{ id: 2, len: 1, crc: 1 }]);
  disk.verdict = () => "do";
  await journal.gone([{ id: 1, len: 1, crc: 1 }]);
  const found: number[] = [];
  await journal.read(({ id }) => found.push(id));
  t.same(found, [1]);
});
