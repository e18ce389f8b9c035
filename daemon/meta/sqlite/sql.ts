/**
 * Statements as text with hex literals: one call into SQLite for a whole large batch, instead of one for each row
 * (measured: 64 rows in 0.3 ms instead of 2.4 ms).
 */
import type { Batch } from "../metastore.js";
import { rowCrc } from "./row-crc.js";
import { SqlText } from "./sql-text.js";

/** Text of one call, roughly; a batch with more than this becomes several calls in one transaction. */
const TEXT_MAX = 1024 * 1024;
/** Rows in one statement. */
const ROWS_MAX = 1000;

/** The calls that write a batch in one transaction, in order. */
export function* batchSql(batch: Batch): Generator<string> {
  const sql = new SqlText();
  sql.write("BEGIN IMMEDIATE;");
  yield* statements(sql, batch.puts, {
    head: "INSERT OR REPLACE INTO kv(key,value,crc)VALUES",
    item([key, value]) {
      sql.write("(");
      sql.key(key);
      sql.write(",");
      sql.value(value);
      sql.write(`,${String(rowCrc(Buffer.from(key, "latin1"), value))})`);
    },
    tail: ";",
  });
  yield* statements(sql, batch.dels, {
    head: "DELETE FROM kv WHERE key IN(",
    item: (key) => sql.key(key),
    tail: ");",
  });
  sql.write("COMMIT");
  yield sql.take();
}

/** Rows with these keys, in no order. */
export function loadSql(keys: readonly string[]): string {
  return `SELECT key,value,crc FROM kv WHERE key IN (${keys.map(keyLiteral).join(",")})`;
}

export function scanSql({ from, to, limit }: { from: string; to: string; limit: number }): string {
  return `SELECT key,value,crc FROM kv WHERE key>=${keyLiteral(from)} AND key<${keyLiteral(to)} ORDER BY key LIMIT ${String(limit)}`;
}

/** Statements over lists of items; yields what was written when it has become long. */
function* statements<T>(
  sql: SqlText,
  items: Iterable<T>,
  parts: { readonly head: string; readonly item: (item: T) => void; readonly tail: string },
): Generator<string> {
  let count = 0;
  for (const item of items) {
    if (count === ROWS_MAX || (count > 0 && sql.length >= TEXT_MAX)) {
      sql.write(parts.tail);
      count = 0;
    }
    if (sql.length >= TEXT_MAX) yield sql.take();
    sql.write(count === 0 ? parts.head : ",");
    parts.item(item);
    count++;
  }
  if (count > 0) sql.write(parts.tail);
}

function keyLiteral(key: string): string {
  return `x'${Buffer.from(key, "latin1").toString("hex")}'`;
}
