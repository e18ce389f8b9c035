import { fail } from "../../proto/errno.js";
import { kindOf, type Key, type RowKind } from "./keys.js";
import type { Row } from "./row-codec.js";

/** Rows that users' names and data are made of. */
const CONTENT: ReadonlySet<RowKind> = new Set(["E", "S", "X"]);

/**
 * For the executor's `admit`: while `isLow()`, refuses with ENOSPC what adds names, data or attributes unless it also
 * removes some. So unlink, rmdir, rename and truncation go on, and so does the daemon's own book-keeping.
 */
export function onlyDeletionsWhen(isLow: () => boolean): (changes: ReadonlyMap<Key, Row | undefined>) => void {
  return (changes) => {
    if (!isLow()) return;
    let adds = false;
    for (const [key, row] of changes) {
      if (!CONTENT.has(kindOf(key))) continue;
      if (row === undefined) return;
      adds = true;
    }
    if (adds) fail("ENOSPC", "the disk of the metadata is nearly full: only deletions are accepted");
  };
}
