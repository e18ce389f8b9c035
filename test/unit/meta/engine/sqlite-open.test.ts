import { readFile, truncate, writeFile } from "node:fs/promises";
import sqlite3 from "sqlite3";
import { test } from "tap";
import { StartupError } from "../../../../daemon/common/running.js";
import { openSqlite } from "../../../../daemon/meta/sqlite/sqlite-store.js";

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
