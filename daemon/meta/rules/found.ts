/**
 * Chunks of which nothing was known when a node told that it has them, and whose session is over. Mostly nobody ever
 * committed them; but the row of a chunk that files need may have been lost. While they are garbage of that kind
 * (`isFound`), nothing can come to name them; so what names them stands in slots that have named them all the time.
 */
import { key, idIn, type Key } from "../keys.js";
import type { Tx } from "../tx.js";
import { isFound } from "./chunks.js";
import { addReferences, newBudget } from "./references.js";

/**
 * `slots`: all that named the chunk when they were searched. Returns the files that name it now, and the chunk is theirs
 * again; none: it is garbage as any other. undefined: that is decided already.
 */
export function settleFound(tx: Tx, chunk: number, slots: readonly Key<"S">[]): number[] | undefined {
  const row = tx.get(key.chunk(chunk));
  const garbage = tx.get(key.garbage(chunk));
  if (row === undefined || garbage === undefined || !isFound(garbage)) return undefined;
  tx.preload?.(slots);
  const byFile = new Map<number, number>();
  for (const slot of slots) {
    const count = timesNamed(tx, slot, chunk);
    if (count > 0) byFile.set(idIn(slot), (byFile.get(idIn(slot)) ?? 0) + count);
  }
  if (byFile.size === 0) {
    tx.put(key.garbage(chunk), { ...garbage, version: 0 });
    return [];
  }
  tx.del(key.garbage(chunk));
  tx.put(key.chunk(chunk), { ...row, garbage: false });
  for (const [ino, count] of byFile)
    addReferences(tx, new Map([[chunk, count]]), tx.get(key.inode(ino))?.replicas ?? 0, newBudget());
  return [...byFile.keys()];
}

function timesNamed(tx: Tx, slot: Key<"S">, chunk: number): number {
  const { slices = [], dropped = [] } = tx.get(slot) ?? {};
  return slices.filter((slice) => slice.chunk === chunk).length + dropped.filter((id) => id === chunk).length;
}
