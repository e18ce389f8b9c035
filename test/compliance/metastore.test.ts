import fc from "fast-check";
import { test, type Test } from "tap";
import { MemoryStore } from "../../daemon/meta/memory-store.js";
import type { Batch, MetaStore } from "../../daemon/meta/metastore.js";
import { openSqlite } from "../../daemon/meta/sqlite/sqlite-store.js";

/** A place that keeps rows while the store over it is closed and opened again. */
interface Place {
  open(): Promise<MetaStore>;
}

const PLACES: Record<string, (t: Test) => Place> = {
  memory() {
    let last = new MemoryStore();
    return { open: () => Promise.resolve((last = last.crash())) };
  },
  SQLite(t) {
    const path = `${t.testdir()}/meta.db`;
    return { open: () => openSqlite(path) };
  },
};

function batchOf(puts: Record<string, string> = {}, dels: string[] = []): Batch {
  const entries = Object.entries(puts).map(([key, value]) => [key, Buffer.from(value, "latin1")] as const);
  return { puts: new Map(entries), dels: new Set(dels) };
}

function text(value: Uint8Array | undefined): string | undefined {
  return value && Buffer.from(value).toString("latin1");
}

async function scanned(store: MetaStore, from: string, to: string, limit: number): Promise<[string, string][]> {
  return (await store.scan({ from, to, limit })).map(({ key, value }) => [key, text(value) ?? ""]);
}

const byteText = fc.string({ unit: fc.nat(255).map((code) => String.fromCharCode(code)), maxLength: 6 });

for (const [name, placeFor] of Object.entries(PLACES)) {
  test(`${name}: what was committed is read back by key and in byte order, whatever the bytes`, async (t) => {
    const place = placeFor(t);
    let store = await place.open();
    const twin = new Map<string, string>();
    const command = fc.oneof(
      fc.record({
        puts: fc.dictionary(byteText, byteText, { maxKeys: 4 }),
        dels: fc.array(byteText, { maxLength: 3 }),
      }),
      fc.record({ from: byteText, to: byteText, limit: fc.integer({ min: 1, max: 5 }) }),
      fc.record({ load: fc.array(byteText, { maxLength: 5 }) }),
      fc.constant("reopen" as const),
    );
    for (const step of fc.sample(command, { numRuns: 400, seed: 7 })) {
      if (step === "reopen") {
        await store.close();
        store = await place.open();
      } else if ("puts" in step) {
        const dels = step.dels.filter((key) => !Object.hasOwn(step.puts, key));
        await store.commit(batchOf(step.puts, dels));
        for (const [key, value] of Object.entries(step.puts)) twin.set(key, value);
        for (const key of dels) twin.delete(key);
      } else if ("load" in step) {
        const keys = [...step.load, ...[...twin.keys()].slice(0, 2)];
        const loaded = await store.load(keys);
        t.same(
          loaded.map(text),
          keys.map((key) => twin.get(key)),
        );
      } else {
        const { from, to, limit } = step;
        const expected = [...twin].filter(([key]) => key >= from && key < to).sort(([a], [b]) => (a < b ? -1 : 1));
        t.same(await scanned(store, from, to, limit), expected.slice(0, limit));
      }
    }
    await store.close();
  });

  test(`${name}: keys that differ in any of the 256 bytes are different rows in byte order`, async (t) => {
    const store = await placeFor(t).open();
    const keys = Array.from({ length: 256 }, (_, code) => `E${String.fromCharCode(code)}`);
    await store.commit(batchOf(Object.fromEntries(keys.toReversed().map((key) => [key, key]))));
    const rows = await store.scan({ from: "E", to: "F", limit: 1000 });
    t.same(
      rows.map((row) => row.key),
      keys,
    );
    t.same((await store.load(keys)).map(text), keys);
    await store.close();
  });

  test(`${name}: empty values are rows, and deleting what is not there is no error`, async (t) => {
    const place = placeFor(t);
    let store = await place.open();
    await store.commit(batchOf({ A: "" }, ["B"]));
    await store.close();
    store = await place.open();
    t.same((await store.load(["A", "B"])).map(text), ["", undefined]);
    t.same((await store.load(["A"])).map(text), [""]);
    t.same(await scanned(store, "A", "Z", 10), [["A", ""]]);
    await store.close();
  });

  test(`${name}: loads of one key many times, of none and of thousands keep their order`, async (t) => {
    const store = await placeFor(t).open();
    const keys = Array.from({ length: 3000 }, (_, i) => `K${String(i)}`);
    await store.commit(batchOf(Object.fromEntries(keys.map((key) => [key, `v${key}`]))));
    t.same(await store.load([]), []);
    t.same((await store.load(["K1", "none", "K1"])).map(text), ["vK1", undefined, "vK1"]);
    const asked = keys.toReversed().flatMap((key) => [key, `${key}?`]);
    t.same(
      (await store.load(asked)).map(text),
      asked.map((key) => (key.endsWith("?") ? undefined : `v${key}`)),
    );
    await store.close();
  });

  test(`${name}: a listing after a load sees what was committed since that load`, async (t) => {
    const store = await placeFor(t).open();
    await store.commit(batchOf({ a: "1", b: "1" }));
    t.equal(text((await store.load(["a"]))[0]), "1");
    await store.commit(batchOf({ c: "1" }, ["b"]));
    t.same(await scanned(store, "a", "z", 10), [
      ["a", "1"],
      ["c", "1"],
    ]);
    await store.close();
  });

  test(`${name}: a batch of many megabytes is whole for every reader and after opening again`, async (t) => {
    const place = placeFor(t);
    let store = await place.open();
    const rounds = ["a", "b"];
    const keys = Array.from({ length: 5000 }, (_, i) => `S${String(i).padStart(6, "0")}`);
    const big = Buffer.alloc(3_000_000, 0x27);
    for (const round of rounds) {
      const puts = new Map<string, Uint8Array>(keys.map((key) => [key, Buffer.alloc(800, round)]));
      puts.set("Sbig", Buffer.concat([big, Buffer.from(round)]));
      let isDone = false;
      const committed = store.commit({ puts, dels: new Set(keys.slice(0, 100).map((key) => `${key}x`)) });
      const finished = committed.finally(() => (isDone = true));
      const torn: unknown[] = [];
      do {
        const [first, last, bigOne] = await store.load([keys[0] ?? "", keys.at(-1) ?? "", "Sbig"]);
        const seen = [text(first)?.charAt(0), text(last)?.charAt(0), text(bigOne)?.slice(-1)];
        if (new Set(seen).size > 1) torn.push(seen);
      } while (!isDone);
      await finished;
      t.same(torn, [], "the first row, the last one and the big one were always of the same batch");
      await store.close();
      store = await place.open();
      const rows = await store.scan({ from: "S", to: "T", limit: 10_000 });
      t.equal(rows.length, 5001);
      t.ok(rows.every((row) => text(row.value)?.endsWith(round)));
    }
    await store.close();
  });

  test(`${name}: a call on a closed store fails`, async (t) => {
    const store = await placeFor(t).open();
    await store.close();
    await t.rejects(store.load(["A"]));
    await t.rejects(store.scan({ from: "A", to: "B", limit: 1 }));
    await t.rejects(store.commit(batchOf({ A: "1" })));
  });
}
