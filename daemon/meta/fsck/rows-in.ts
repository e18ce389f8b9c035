import type { Key, RowKind, Rows } from "../keys.js";
import type { StoreSnapshot } from "../metastore.js";
import { decodeRow } from "../row-codec.js";

/** Rows of one read. */
const PAGE = 1000;

export interface RowOf<K extends RowKind> {
  readonly key: Key<K>;
  readonly row: Rows[K];
}

/** Rows with from <= key < to in order; a page is in memory at a time. */
export async function* rowsIn<K extends RowKind>(
  rows: StoreSnapshot,
  range: { readonly from: string; readonly to: string },
): AsyncGenerator<RowOf<K>> {
  for (let { from } = range; ;) {
    const page = await rows.scan({ from, to: range.to, limit: PAGE });
    for (const { key, value } of page) yield { key: key as Key<K>, row: decodeRow(key as Key<K>, value) };
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return;
    from = `${last.key}\0`;
  }
}
