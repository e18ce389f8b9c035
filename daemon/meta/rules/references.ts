/**
 * How often chunks are named. ChunkRow.refs is the number of slices, in all slot rows, that name the chunk, plus the
 * times that it stands in their `dropped` lists.
 */
import type { Slice } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { LIMITS } from "../../../proto/limits.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { isFound, makeGarbage } from "./chunks.js";
import { preloadChunks, wantedFor } from "./replicas.js";
import { countChunks } from "./slices.js";

/** Rows that an operation may still change; what is beyond is left to the sweep. */
export interface Budget {
  rows: number;
}

/** Half of what is allowed at all: the other half is for what an operation always changes. */
export function newBudget(): Budget {
  return { rows: LIMITS.rowsPerOperation / 2 };
}

/** The change, and the version of the file that it makes. */
export interface Change {
  readonly ino: number;
  readonly version: number;
}

/** Chunks that are named more often than before, how much so; and those named less often, as many times as that. */
export function compareSlices(before: readonly Slice[], after: readonly Slice[]) {
  const gained = countChunks(after);
  const lost: number[] = [];
  for (const [chunk, count] of countChunks(before)) {
    const change = (gained.get(chunk) ?? 0) - count;
    gained.set(chunk, change);
    for (let i = change; i < 0; i++) lost.push(chunk);
  }
  return { gained, lost };
}

/** By a file that wants so many copies of its chunks (0: as many as the volume). */
export function addReferences(tx: Tx, gained: ReadonlyMap<number, number>, replicas: number, budget: Budget): void {
  const more = [...gained].filter(([, count]) => count > 0);
  preloadChunks(
    tx,
    more.map(([chunk]) => chunk),
  );
  for (const [id, count] of more) {
    const chunk = tx.get(key.chunk(id)) ?? fail("EIO", `chunk ${id} is not known`);
    const garbage = chunk.garbage ? tx.get(key.garbage(id)) : undefined;
    if (garbage !== undefined && isFound(garbage)) fail("EAGAIN", `how often chunk ${id} is named is being counted`);
    if (garbage !== undefined) tx.del(key.garbage(id));
    const wanted = wantedFor(chunk, replicas, { isAlone: chunk.refs === 0 });
    tx.put(key.chunk(id), { ...wanted, refs: chunk.refs + count, garbage: false });
    budget.rows -= 1;
  }
}

/** Takes references away as far as the budget allows; those that are left. */
export function dropReferences(tx: Tx, change: Change, lost: readonly number[], budget: Budget): number[] {
  const counts = new Map<number, number>();
  for (const id of lost) counts.set(id, (counts.get(id) ?? 0) + 1);
  const now = [...counts.keys()].slice(0, Math.max(0, Math.floor(budget.rows / 2)));
  preloadChunks(tx, now);
  for (const id of now) dropReference(tx, change, id, counts.get(id) ?? 0);
  budget.rows -= 2 * now.length;
  const done = new Set(now);
  return now.length === counts.size ? [] : lost.filter((id) => !done.has(id));
}

function dropReference(tx: Tx, change: Change, id: number, count: number): void {
  const chunk = tx.get(key.chunk(id));
  // What is damaged must still be deletable. Of garbage no reference is counted.
  if (chunk === undefined || chunk.garbage) return;
  const refs = chunk.refs - count;
  if (refs < 0) throw new Error(`chunk ${id} has ${chunk.refs} references, ${count} were dropped`);
  if (refs > 0) tx.put(key.chunk(id), { ...chunk, refs });
  else makeGarbage(tx, { ...chunk, refs }, { ino: change.ino, version: change.version });
}
