import fc from "fast-check";
import { test } from "tap";
import { ChunkIndex, type Entry } from "../../../daemon/store/chunk-index.js";

const id = fc.oneof(
  fc.nat(40),
  fc.nat(40).map((n) => 2 ** 40 + n * 2 ** 20),
  fc.constant(2 ** 53 - 1),
);
const entry = fc.record({
  len: fc.nat(4 << 20),
  crc: fc.integer({ min: 0, max: 0xffffffff }),
  synced: fc.boolean(),
  unverified: fc.boolean(),
});
const step = fc.tuple(id, fc.option(entry, { nil: undefined }));

test("the index is a map from chunk ids to entries, whatever is set and deleted", async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const index = new ChunkIndex();
      const twin = new Map<number, Entry>();
      for (const [chunk, value] of steps) {
        if (value === undefined) t.equal(index.delete(chunk), twin.delete(chunk));
        else {
          index.set(chunk, value);
          twin.set(chunk, value);
        }
      }
      t.equal(index.size, twin.size);
      t.same(
        [...index.sortedIds()],
        [...twin.keys()].sort((a, b) => a - b),
      );
      for (const [chunk] of steps) t.same(index.get(chunk), twin.get(chunk));
    }),
    { numRuns: 50 },
  );
});

test("it grows, and gives back the places of deleted chunks", async (t) => {
  const index = new ChunkIndex();
  for (let n = 0; n < 50_000; n++) {
    index.set(2 ** 45 + n, { len: n, crc: n, synced: false, unverified: false });
    if (n >= 5000) index.delete(2 ** 45 + n - 5000);
  }
  t.equal(index.size, 5000);
  t.equal(index.get(2 ** 45 + 44_999), undefined);
  for (let n = 45_000; n < 50_000; n++) if (index.get(2 ** 45 + n)?.len !== n) t.fail(`lost ${n}`);
});
