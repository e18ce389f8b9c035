import sqlite3 from "sqlite3";

/** How long a call waits for another process that has the file locked, milliseconds. */
const BUSY_MS = 5000;

/** One connection, with promises. Calls run one after the other, off this thread. */
export class Database {
  readonly #db: sqlite3.Database;

  private constructor(db: sqlite3.Database) {
    this.#db = db;
  }

  /** Opens the file, and creates it when there is none. */
  static open(path: string): Promise<Database> {
    return new Promise((resolve, reject) => {
      const db = new sqlite3.Database(path, sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE, (error) => {
        if (error !== null) {
          reject(error);
          return;
        }
        db.configure("busyTimeout", BUSY_MS);
        resolve(new Database(db));
      });
    });
  }

  /** Runs statements up to the first that fails; a transaction that they began stays open then. */
  exec(sql: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#db.exec(sql, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  /** All rows of a query. */
  all<T>(sql: string): Promise<T[]> {
    return new Promise((resolve, reject) => {
      this.#db.all<T>(sql, (error, rows) => (error === null ? resolve(rows) : reject(error)));
    });
  }

  prepare(sql: string): Promise<Statement> {
    return new Promise((resolve, reject) => {
      const statement = this.#db.prepare(sql, (error) => {
        if (error === null) resolve(new Statement(statement));
        else reject(error);
      });
    });
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#db.close((error) => (error === null ? resolve() : reject(error)));
    });
  }
}

/** A compiled query. */
export class Statement {
  readonly #statement: sqlite3.Statement;

  constructor(statement: sqlite3.Statement) {
    this.#statement = statement;
  }

  /**
   * The only row of the result. Runs the statement to its end: one that has rows left keeps its read transaction, and
   * every later query of the connection would see the database as it was then.
   */
  get<T>(param: Buffer): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#statement.all<T>([param], (error, rows) => (error === null ? resolve(rows[0]) : reject(error)));
    });
  }

  /** Runs it for what it does. */
  run(params: readonly (Buffer | number | null)[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#statement.run(params, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  /** Frees it; its connection can only be closed afterwards. */
  finalize(): Promise<void> {
    return new Promise((resolve) => {
      this.#statement.finalize(() => {
        resolve();
      });
    });
  }
}

/** SQLITE_CORRUPT and the like; undefined for other errors. */
export function sqliteCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" && code.startsWith("SQLITE_") ? code : undefined;
}
