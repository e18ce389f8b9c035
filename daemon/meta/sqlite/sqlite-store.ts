/**
 * The metadata in one SQLite file: one table of keys, values and checksums of both.
 *
 * Two connections, one that writes and one that reads: a read neither waits for the disk of a commit nor sees half a
 * batch. (Exclusive locking mode would forbid the second; a commit takes as long without it.) A third holds an empty
 * file beside it locked: the kernel shows that lock also to a daemon in another container, which sees no process of this
 * one and takes the lock file of the data folder for a dead one's.
 */
import { StartupError } from "../../common/running.js";
import { DamagedRow, type Batch, type MetaStore, type StoredRow, type StoreSnapshot } from "../metastore.js";
import { Database, sqliteCode, type Statement } from "./database.js";
import { checkSchema, migrate } from "./migrations.js";
import { rowCrc } from "./row-crc.js";
import { SmallBatches } from "./small-batches.js";
import { batchSql, loadSql, scanSql } from "./sql.js";

/** Keys of one query. */
const KEYS_MAX = 512;

interface Value {
  readonly value: Buffer;
  readonly crc: number;
}

interface Found extends Value {
  readonly key: Buffer;
}

/** Opens or creates the file; StartupError when it cannot be used, or is open already. */
export async function openSqlite(path: string): Promise<MetaStore> {
  const opened: Database[] = [];
  const open = async (file: string) => {
    const db = await Database.open(file);
    opened.push(db);
    return db;
  };
  try {
    const lock = await open(`${path}.lock`);
    await lock.exec("BEGIN EXCLUSIVE");
    const writer = await open(path);
    await prepareFile(writer, path);
    const reader = await open(path);
    await reader.exec("PRAGMA cache_size=-8192; PRAGMA query_only=ON");
    const one = await reader.prepare("SELECT value,crc FROM kv WHERE key=?");
    return new SqliteStore({ path, writer, reader, lock, one, small: await SmallBatches.on(writer) });
  } catch (error) {
    for (const db of opened) await db.close().catch(() => undefined);
    throw startupErrorOf(error, path);
  }
}

export class SqliteStore implements MetaStore {
  readonly #path: string;
  readonly #writer: Database;
  readonly #reader: Database;
  readonly #lock: Database;
  readonly #one: Statement;
  readonly #small: SmallBatches;

  constructor(parts: {
    readonly path: string;
    readonly writer: Database;
    readonly reader: Database;
    readonly lock: Database;
    readonly one: Statement;
    readonly small: SmallBatches;
  }) {
    this.#path = parts.path;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
    this.#lock = parts.lock;
    this.#one = parts.one;
    this.#small = parts.small;
  }

  async load(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    const [only] = keys;
    if (keys.length === 1 && only !== undefined) {
      const key = Buffer.from(only, "latin1");
      const found = await this.#one.get<Value>(key);
      return [found && this.#checked(key, found)];
    }
    const values = new Map<string, Uint8Array>();
    for (let i = 0; i < keys.length; i += KEYS_MAX) {
      const found = await this.#reader.all<Found>(loadSql(keys.slice(i, i + KEYS_MAX)));
      for (const row of found) values.set(row.key.toString("latin1"), this.#checked(row.key, row));
    }
    return keys.map((key) => values.get(key));
  }

  scan(range: { from: string; to: string; limit: number }): Promise<StoredRow[]> {
    return this.#scan(this.#reader, range);
  }

  async #scan(db: Database, range: { from: string; to: string; limit: number }): Promise<StoredRow[]> {
    const found = await db.all<Found>(scanSql(range));
    return found.map((row) => ({ key: row.key.toString("latin1"), value: this.#checked(row.key, row) }));
  }

  /** While it is open, the write-ahead log grows with every commit. */
  async snapshot(): Promise<StoreSnapshot> {
    const db = await Database.open(this.#path);
    try {
      await db.exec("PRAGMA query_only=ON; PRAGMA cache_size=-2048; BEGIN");
      await db.all("SELECT key FROM kv LIMIT 1"); // this begins the transaction
    } catch (error) {
      await db.close();
      throw error;
    }
    return { scan: (range) => this.#scan(db, range), close: () => db.close() };
  }

  async commit(batch: Batch): Promise<void> {
    if (this.#small.fits(batch)) return this.#small.write(batch);
    try {
      for (const sql of batchSql(batch)) await this.#writer.exec(sql);
    } catch (error) {
      await this.#writer.exec("ROLLBACK").catch(() => undefined); // SQLite may have rolled back by itself
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#one.finalize();
    await this.#small.close();
    await this.#reader.close();
    await this.#writer.close();
    await this.#lock.close();
  }

  #checked(key: Buffer, { value, crc }: Value): Buffer {
    if (rowCrc(key, value) !== crc) throw new DamagedRow(key.toString("latin1"), this.#path);
    return value;
  }
}

async function prepareFile(db: Database, path: string): Promise<void> {
  await checkSchema(db, path);
  const [mode] = await db.all<{ journal_mode: string }>("PRAGMA journal_mode=WAL");
  if (mode?.journal_mode !== "wal") {
    throw new StartupError(`${path} lies on a filesystem where SQLite cannot keep a write-ahead log`, {
      hint: "put the data folder on a local disk",
    });
  }
  await db.exec("PRAGMA synchronous=FULL; PRAGMA cache_size=-8192; PRAGMA journal_size_limit=67108864");
  await migrate(db);
}

function startupErrorOf(cause: unknown, path: string): unknown {
  switch (sqliteCode(cause)) {
    case undefined:
      return cause;
    case "SQLITE_NOTADB":
    case "SQLITE_CORRUPT":
      return new StartupError(`${path} is damaged: it is not a database that SQLite can read`, {
        hint: "check the disk and put back a backup of the file; BigFS changed nothing in it",
        cause,
      });
    case "SQLITE_BUSY":
      return new StartupError(`${path} is locked by another program`, { hint: "end that program first", cause });
    case "SQLITE_FULL":
      return new StartupError(`there is no space left for ${path}`, { hint: "free some space on that disk", cause });
    default:
      return new StartupError(`${path} cannot be opened: ${(cause as Error).message}`, {
        hint: "the data folder must exist and be readable and writable for the user that runs the daemon",
        cause,
      });
  }
}
