import fc from "fast-check";
import { test } from "tap";
import { key, type Key } from "../../../../daemon/meta/keys.js";
import { RowCache } from "../../../../daemon/meta/row-cache.js";
import type { Row } from "../../../../daemon/meta/row-codec.js";
import type { Name } from "../../../../proto/name.js";
import { cell } from "./lab.js";

const row = { chunks: [] } as never;

test("rows that nobody holds are bounded, large ones count as several, and the least used goes first", (t) => {
  const cache = new RowCache({ bytes: 10 * (500 + 100) });
  const keep = (n: number, bytes: number) => {
    cache.pin(cell(n));
    cache.loaded(cell(n), row, bytes);
    cache.unpin(cell(n));
  };
  for (let n = 1; n <= 20; n++) keep(n, 100);
  t.equal(cache.size, 10);
  cache.get(cell(11));
  keep(21, 5 * 600 - 500);
  t.equal(cache.size, 6);
  t.not(cache.get(cell(11)), undefined, "it was used");
  t.equal(cache.get(cell(12)), undefined);
  t.end();
});

test("a row that was never written is known to be absent, unless more is known of it", (t) => {
  const cache = new RowCache({ bytes: 2 * 250 });
  cache.put(cell(1), row, { session: 1, batch: 1, durable: 0, bytes: 10 });
  cache.absent(cell(1));
  t.equal(cache.get(cell(1))?.row, row);
  cache.pin(cell(2));
  cache.absent(cell(2));
  t.equal(cache.get(cell(2)), undefined, "it is being loaded");
  for (let n = 3; n <= 5; n++) cache.absent(cell(n));
  t.equal(cache.get(cell(3)), undefined, "they are idle, and bounded");
  t.match(cache.get(cell(5)), { row: undefined, batch: 0 });
  t.end();
});

test("dirty and pinned rows stay above the bound, and join the others afterwards", (t) => {
  const cache = new RowCache({ bytes: 600 });
  for (let n = 1; n <= 5; n++) cache.put(cell(n), row, { session: 1, batch: 1, durable: 0, bytes: 10 });
  cache.pin(cell(1));
  for (let n = 1; n <= 5; n++) cache.durable(cell(n), 1);
  t.equal(cache.dirty, 0);
  t.not(cache.get(cell(1)), undefined);
  t.equal(cache.size, 2);
  cache.unpin(cell(1));
  t.equal(cache.size, 1);
  t.throws(() => cache.unpin(cell(1)), /not pinned/);
  t.end();
});

test("a row that never comes to rest remembers only those whose changes are not durable", (t) => {
  const cache = new RowCache({ bytes: 600 });
  for (let batch = 1; batch <= 100; batch++) {
    cache.put(cell(1), row, { session: batch, batch, durable: batch - 2, bytes: 10 });
    cache.durable(cell(1), batch - 1);
  }
  t.same(cache.get(cell(1))?.writers, [
    { session: 99, batch: 99 },
    { session: 100, batch: 100 },
  ]);
  t.end();
});

test("a name that is not in memory is known to be absent exactly when all names of its folder are in memory", (t) => {
  const names = ["a", "b", "c", "d"].map((name) => key.entry(7, name as Name));
  const folder = key.inode(7);
  const step = fc.record({
    what: fc.constantFrom("toggle", "load", "touch", "durable"),
    name: fc.nat({ max: names.length - 1 }),
  });
  let certain = 0;
  fc.assert(
    fc.property(fc.integer({ min: 250, max: 2500 }), fc.array(step, { maxLength: 60 }), (bytes, steps) => {
      const cache = new RowCache({ bytes });
      const there = new Set<Key>();
      let batch = 0;
      const put = (k: Key, row: Row | undefined) =>
        cache.put(k, row, { session: 1, batch, durable: batch - 1, bytes: 0 });
      const load = (k: Key, row: Row | undefined) => {
        cache.pin(k);
        cache.loaded(k, row, 0);
        cache.unpin(k);
      };
      const folderRow = () => ({ children: there.size }) as unknown as Row;
      for (const { what, name } of steps) {
        const k = names[name] ?? folder;
        if (what === "toggle") {
          batch++;
          const isMade = !there.delete(k);
          if (isMade) there.add(k);
          put(k, isMade ? row : undefined);
          put(folder, folderRow());
        } else if (what === "load") load(k, there.has(k) ? row : undefined);
        else if (what === "touch") load(folder, folderRow());
        else for (const written of [...names, folder]) cache.durable(written, batch);

        const isHere = (at: Key) => cache.get(at) !== undefined;
        const expected = isHere(folder) && [...there].every(isHere);
        if (expected) certain++;
        for (const at of names) t.equal(cache.isAbsent(at) && !isHere(at), expected && !isHere(at));
      }
    }),
    { numRuns: 200 },
  );
  t.ok(certain > 100, "it does happen");
  t.end();
});
