import { StartupError } from "../../common/running.js";
import type { Database } from "./database.js";
import { rowCrc } from "./row-crc.js";

/**
 * Number n of these (from 1) turns schema n - 1 into schema n, in a transaction. Never change one that was released;
 * append.
 */
const MIGRATIONS: readonly ((db: Database) => Promise<void>)[] = [
  (db) => db.exec("CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT"),
  addChecksums,
];

/** Rows of one step of a migration. */
const PAGE = 2000;

/** StartupError when the file is not ours or of a newer build; changes nothing. */
export async function checkSchema(db: Database, path: string): Promise<void> {
  const version = await schemaOf(db);
  if (version > MIGRATIONS.length) {
    throw new StartupError(
      `${path} has schema ${String(version)}, this build knows schemas up to ${String(MIGRATIONS.length)}`,
      { hint: "start it with the newer BigFS that wrote it" },
    );
  }
  if (version === 0 && (await db.all("SELECT 1 FROM sqlite_schema LIMIT 1")).length > 0) {
    throw new StartupError(`${path} is a database of another program`, { hint: "choose another data folder" });
  }
}

/** Brings a checked file to the schema of this build. */
export async function migrate(db: Database): Promise<void> {
  const version = await schemaOf(db);
  for (const [n, change] of MIGRATIONS.entries()) {
    if (n < version) continue;
    await db.exec("BEGIN IMMEDIATE");
    await change(db);
    await db.exec(`PRAGMA user_version=${String(n + 1)}; COMMIT`);
  }
}

/** Each row gets the checksum of what it says now. */
async function addChecksums(db: Database): Promise<void> {
  await db.exec("ALTER TABLE kv ADD COLUMN crc INTEGER");
  let after = "";
  for (;;) {
    const where = after === "" ? "" : ` WHERE key>x'${after}'`;
    const rows = await db.all<Row>(`SELECT key,value FROM kv${where} ORDER BY key LIMIT ${String(PAGE)}`);
    const updates = rows.map(
      ({ key, value }) => `UPDATE kv SET crc=${String(rowCrc(key, value))} WHERE key=x'${key.toString("hex")}'`,
    );
    if (updates.length > 0) await db.exec(updates.join(";"));
    if (rows.length < PAGE) return;
    after = rows.at(-1)?.key.toString("hex") ?? "";
  }
}

interface Row {
  readonly key: Buffer;
  readonly value: Buffer;
}

async function schemaOf(db: Database): Promise<number> {
  const [row] = await db.all<{ user_version: number }>("PRAGMA user_version");
  return row?.user_version ?? 0;
}
