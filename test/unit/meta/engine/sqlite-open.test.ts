import { readFile, truncate, writeFile } from "node:fs/promises";
import sqlite3 from "sqlite3";
import { test } from "tap";
import { StartupError } from "../../../../daemon/common/running.js";
import { errnoOf } from "../../../../proto/errno.js";
import { openSqlite } from "../../../../daemon/meta/sqlite/sqlite-store.js";
import { cell, executorOver, numbers, setNumbers } from "./lab.js";

async function change(path: string, sql: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const db = new sqlite3.Database(path);
    db.exec(sql, (error) => {
      db.close(() => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  });
}

test("a metadata file of a newer build is refused and left as it is", async (t) => {
  const path = `${t.testdir()}/meta.db`;
  await (await openSqlite(path)).close();
  await change(path, "PRAGMA user_version=7");
  const before = await readFile(path);
  const error: unknown = await openSqlite(path).catch((thrown: unknown) => thrown);
  t.ok(error instanceof StartupError);
  t.match(error, { message: /schema 7, this build knows schemas up to \d+/, hint: /newer BigFS/ });
  t.same(await readFile(path), before);
});

test("a database of another program is refused and left as it is", async (t) => {
  const path = `${t.testdir()}/meta.db`;
  await change(path, "CREATE TABLE theirs (x)");
  const before = await readFile(path);
  await t.rejects(openSqlite(path), { name: "StartupError", message: /another program/ });
  t.same(await readFile(path), before);
});

test("a file that is not a database, or is cut, is refused as damaged", async (t) => {
  const dir = t.testdir({ "text.db": "these are no rows ".repeat(500) });
  await t.rejects(openSqlite(`${dir}/text.db`), { name: "StartupError", message: /text\.db is damaged/ });

  const path = `${dir}/meta.db`;
  const store = await openSqlite(path);
  await store.commit({ puts: new Map([["A", Buffer.alloc(100_000)]]), dels: new Set() });
  await store.close();
  await truncate(path, 5000);
  await t.rejects(openSqlite(path), { name: "StartupError", message: /meta\.db is damaged/ });
});

test("a folder that is missing, and a folder in place of the file, are refused with a way out", async (t) => {
  const dir = t.testdir({ "meta.db": {} });
  await t.rejects(openSqlite(`${dir}/none/meta.db`), { name: "StartupError", hint: /data folder must exist/ });
  await t.rejects(openSqlite(`${dir}/meta.db`), { name: "StartupError", message: /cannot be opened/ });
});

test("opening an existing file again keeps its rows and its schema", async (t) => {
  const path = `${t.testdir()}/meta.db`;
  await writeFile(path, "");
  for (const value of ["1", "2"]) {
    const store = await openSqlite(path);
    await store.commit({ puts: new Map([[`A${value}`, Buffer.from(value)]]), dels: new Set() });
    await store.close();
  }
  const store = await openSqlite(path);
  t.same(await store.load(["A1", "A2"]), [Buffer.from("1"), Buffer.from("2")]);
  await store.close();
});

test("a file that is open is refused, also to a process that knows nothing of the one that has it open", async (t) => {
  const path = `${t.testdir()}/meta.db`;
  const store = await openSqlite(path);
  await t.rejects(openSqlite(path), { name: "StartupError", message: /meta\.db is locked by another program/ });
  await store.close();
  await (await openSqlite(path)).close();
});

/** As builds with schema 1 left it. */
const SCHEMA_1 = `
  PRAGMA journal_mode=WAL;
  CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4500)
    INSERT INTO kv SELECT CAST(format('K%06d', i) AS BLOB), CAST(format('value %d', i) AS BLOB) FROM n;
  PRAGMA user_version=1`;

test("D30: a file without checksums, of schema 1, is read, gets them, and goes on", async (t) => {
  const path = `${t.testdir()}/meta.db`;
  await change(path, SCHEMA_1);
  for (const life of ["first", "second"]) {
    const store = await openSqlite(path);
    const rows = await store.scan({ from: "K", to: "L", limit: 10_000 });
    t.equal(rows.length, 4500, `${life} life`);
    t.equal(rows[4321]?.key, "K004322");
    t.same(await store.load(["K000001", "K004500"]), [Buffer.from("value 1"), Buffer.from("value 4500")]);
    await store.commit({ puts: new Map([["K000001", Buffer.from("value 1")]]), dels: new Set() });
    await store.close();
  }
  await change(path, "UPDATE kv SET value=CAST('value 2' AS BLOB) WHERE key=CAST('K004000' AS BLOB)");
  const store = await openSqlite(path);
  await t.rejects(store.load(["K004000"]), { name: "DamagedRow", key: "K004000" }, "old rows have checksums, too");
  await store.close();
});

test("a row that is not as it was written is noticed by every way to read it, and no other row is", async (t) => {
  const path = `${t.testdir()}/meta.db`;
  const keys = Array.from({ length: 200 }, (_, i) => `K${String(i).padStart(3, "0")}`);
  const first = await openSqlite(path);
  const puts = new Map(keys.map((key) => [key, Buffer.from(`of ${key}`)]));
  await first.commit({ puts, dels: new Set() });
  await first.commit({ puts: new Map([["A", Buffer.from("few rows")]]), dels: new Set() });
  await first.close();
  const hex = (text: string) => `x'${Buffer.from(text).toString("hex")}'`;
  const damages = {
    "another value": `UPDATE kv SET value=${hex("of K043")} WHERE key=${hex("K042")}`,
    "the value and checksum of another row": `UPDATE kv SET (value,crc)=(SELECT value,crc FROM kv WHERE key=${hex("A")})
      WHERE key=${hex("K042")}`,
    "no checksum": `UPDATE kv SET crc=NULL WHERE key=${hex("K042")}`,
  };
  for (const [what, sql] of Object.entries(damages)) {
    await change(path, sql);
    const store = await openSqlite(path);
    const damaged = { name: "DamagedRow", key: "K042", message: /K042.*meta\.db is damaged/ };
    await t.rejects(store.load(["K042"]), damaged, what);
    await t.rejects(store.load(keys), damaged, what);
    await t.rejects(store.scan({ from: "K", to: "L", limit: 1000 }), damaged, what);
    t.same(await store.load(["K041", "K043", "A"]), [puts.get("K041"), puts.get("K043"), Buffer.from("few rows")]);
    await store.close();
  }
});

test("who needs a damaged row gets EIO, told in the log; who is loaded with it does not notice; no listing leaves it out", async (t) => {
  const path = `${t.testdir()}/meta.db`;
  const first = await openSqlite(path);
  const before = executorOver(first).executor;
  await before.execute(1, (tx) => [1, 2, 3].forEach((n) => setNumbers(tx, n, [n])));
  await before.drained();
  await first.close();
  await change(path, `UPDATE kv SET value=x'0a0107' WHERE key=x'${Buffer.from(cell(2)).toString("hex")}'`);

  const store = await openSqlite(path);
  const { executor, log } = executorOver(store);
  const read = (n: number) => executor.execute(1, (tx) => numbers(tx, n)?.[0]);
  const found = await Promise.all([1, 2, 3].map((n) => read(n).then((done) => done.value, errnoOf)));
  t.same(found, [1, "EIO", 3]);
  await t.rejects(executor.scan(1, { from: "U", to: "V", limit: 10 }), { message: /^EIO: row .* is damaged/ });
  t.match(
    log.map((line) => (JSON.parse(line) as { err: { message: string } }).err.message),
    [/row "U0+2" in .*meta\.db is damaged/, /row "U0+2" in .*meta\.db is damaged/],
  );
  await store.close();
});
