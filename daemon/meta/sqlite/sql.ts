/**
 * Statements as text with hex literals: one call into SQLite for a whole batch, instead of one for each row (measured:
 * 64 rows in 0.3 ms instead of 2.4 ms).
 */
import type { Batch } from "../metastore.js";

/** Text of one call; a batch with more than this becomes several calls in one transaction. */
const TEXT_MAX = 1024 * 1024;
/** Rows in one statement. */
const ROWS_MAX = 1000;

/** The calls that write a batch in one transaction, in order. */
export function* batchSql(batch: Batch): Generator<string> {
  let text = "BEGIN IMMEDIATE;";
  for (const statement of statementsOf(batch)) {
    if (text.length + statement.length > TEXT_MAX) {
      yield text;
      text = "";
    }
    text += statement;
  }
  yield `${text}COMMIT`;
}

/** Rows with these keys, in no order. */
export function loadSql(keys: readonly string[]): string {
  return `SELECT key,value FROM kv WHERE key IN (${keys.map(keyLiteral).join(",")})`;
}

export function scanSql({ from, to, limit }: { from: string; to: string; limit: number }): string {
  return `SELECT key,value FROM kv WHERE key>=${keyLiteral(from)} AND key<${keyLiteral(to)} ORDER BY key LIMIT ${String(limit)}`;
}

function* statementsOf(batch: Batch): Generator<string> {
  const rows = mapped(batch.puts, ([key, value]) => `(${keyLiteral(key)},${literal(value)})`);
  for (const list of lists(rows)) yield `INSERT OR REPLACE INTO kv(key,value)VALUES${list};`;
  for (const list of lists(mapped(batch.dels, keyLiteral))) yield `DELETE FROM kv WHERE key IN(${list});`;
}

/** Joins items with commas into lists of bounded length. */
function* lists(items: Iterable<string>): Generator<string> {
  let list: string[] = [];
  let length = 0;
  for (const item of items) {
    if (list.length === ROWS_MAX || (list.length > 0 && length + item.length > TEXT_MAX / 2)) {
      yield list.join(",");
      list = [];
      length = 0;
    }
    list.push(item);
    length += item.length + 1;
  }
  if (list.length > 0) yield list.join(",");
}

function* mapped<A, B>(items: Iterable<A>, fn: (item: A) => B): Generator<B> {
  for (const item of items) yield fn(item);
}

function keyLiteral(key: string): string {
  return `x'${Buffer.from(key, "latin1").toString("hex")}'`;
}

function literal(bytes: Uint8Array): string {
  return `x'${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}'`;
}
