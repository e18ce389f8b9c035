import { StartupError } from "../../common/running.js";
import type { Database } from "./database.js";

/** Number n of these (from 1) turns schema n - 1 into schema n. Never change one that was released; append. */
const MIGRATIONS = ["CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT"];

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
  for (const [n, sql] of MIGRATIONS.entries()) {
    if (n >= version) await db.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version=${String(n + 1)}; COMMIT`);
  }
}

async function schemaOf(db: Database): Promise<number> {
  const [row] = await db.all<{ user_version: number }>("PRAGMA user_version");
  return row?.user_version ?? 0;
}
