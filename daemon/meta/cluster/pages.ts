import type { Executor } from "../executor.js";
import type { Scanned } from "../listing.js";
import type { RowKind } from "../keys.js";

/** Rows of one page. */
const PAGE = 512;

/** Rows with from <= key < to, page by page; ends early when aborted. */
export async function* pages<K extends RowKind>(
  executor: Executor,
  range: { readonly from: string; readonly to: string },
  signal?: AbortSignal,
): AsyncGenerator<Scanned<K>["rows"]> {
  let from: string | undefined = range.from;
  while (from !== undefined && signal?.aborted !== true) {
    const page: Scanned<K> = await executor.scan<K>(0, { from, to: range.to, limit: PAGE });
    yield page.rows;
    from = page.next;
  }
}

/** The items in order, at most `size` at a time. */
export function* parts<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}
