import { fail } from "../../proto/errno.js";
import type { SlotRow, XattrsRow } from "../../proto/gen/bigfs/v1/rows.js";
import { kindOf, type Key, type RowKind } from "./keys.js";
import type { Row } from "./row-codec.js";
import { coveredBytes } from "./rules/slices.js";

/** Rows that users' names and data are made of. */
const CONTENT: ReadonlySet<RowKind> = new Set(["E", "S", "X"]);

/**
 * For the executor's `admit`: while `isLow()`, refuses with ENOSPC what adds names, data or attributes unless it also
 * removes some. So unlink, rmdir, rename and truncation go on, and so does the daemon's own book-keeping.
 */
export function onlyDeletionsWhen(
  isLow: () => boolean,
): (changes: ReadonlyMap<Key, Row | undefined>, before: (key: Key) => Row | undefined) => void {
  return (changes, before) => {
    if (!isLow()) return;
    let adds = false;
    for (const [key, row] of changes) {
      if (!CONTENT.has(kindOf(key))) continue;
      if (row === undefined || contentOf(key, row) < contentOf(key, before(key))) return;
      adds = true;
    }
    if (adds) fail("ENOSPC", "the disk of the metadata is nearly full: only deletions are accepted");
  };
}

/** Bytes of users that the row stands for. */
function contentOf(key: Key, row: Row | undefined): number {
  if (row === undefined) return 0;
  if (kindOf(key) === "S") return coveredBytes((row as SlotRow).slices);
  if (kindOf(key) === "X") return (row as XattrsRow).xattrs.reduce((sum, { value }) => sum + value.length, 0);
  return 0;
}
