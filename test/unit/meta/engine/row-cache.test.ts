import { test } from "tap";
import { RowCache } from "../../../../daemon/meta/row-cache.js";
import { cell } from "./lab.js";

const row = { chunks: [] } as never;

test("rows that nobody holds are bounded, large ones count as several, and the least used goes first", (t) => {
  const cache = new RowCache({ rows: 10 });
  const keep = (n: number, bytes: number) => {
    cache.pin(cell(n));
    cache.loaded(cell(n), row, bytes);
    cache.unpin(cell(n));
  };
  for (let n = 1; n <= 20; n++) keep(n, 100);
  t.equal(cache.size, 10);
  cache.get(cell(11));
  keep(21, 4 * 512);
  t.equal(cache.size, 6);
  t.not(cache.get(cell(11)), undefined, "it was used");
  t.equal(cache.get(cell(12)), undefined);
  t.end();
});

test("dirty and pinned rows stay above the bound, and join the others afterwards", (t) => {
  const cache = new RowCache({ rows: 1 });
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
  const cache = new RowCache({ rows: 1 });
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
