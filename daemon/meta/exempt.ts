/**
 * What sessions see of each other before it is durable, although nobody is told of anything else that is not: the
 * volume's usage, and how much is in a folder and since when. Otherwise two sessions that work in one folder would wait
 * for each other's commits all the time.
 *
 * One session's operations do not depend on what these rows say about another's, so each can be replayed alone. But that
 * a folder is empty may be why it could be removed: an empty folder is no exception.
 */
import type { InodeRow } from "../../proto/gen/bigfs/v1/rows.js";
import { kindOf, type Key } from "./keys.js";
import type { Row } from "./row-codec.js";
import { isDir } from "./rules/modes.js";

const COUNTS = new Set<keyof InodeRow>(["nlink", "mtime", "ctime", "mtimeSet", "children", "nextCookie", "version"]);

/** Changes of such a row never hold anybody. */
export function isExempt(key: Key): boolean {
  return kindOf(key) === "A";
}

/** The change of a row is only one of a folder's times and counters. */
export function onlyCounts(key: Key, before: Row | undefined, after: Row | undefined): boolean {
  if (kindOf(key) !== "I" || before === undefined || after === undefined) return false;
  const [old, fresh] = [before as InodeRow, after as InodeRow];
  if (!isDir(old) || old.nlink === 0 || fresh.nlink === 0) return false;
  for (const field in fresh) {
    const name = field as keyof InodeRow;
    if (fresh[name] !== old[name] && !COUNTS.has(name)) return false;
  }
  return true;
}

/** Times and counters of this row hold others after all. */
export function countsMatter(row: Row | undefined): boolean {
  return row === undefined || (row as InodeRow).children === 0;
}
