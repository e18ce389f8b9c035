/** What cleaning would do about each chunk that nothing names, and why: its own rules, on the rows of one moment. */
import type { ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { dryRun } from "../dry-run.js";
import { rowsIn } from "../fsck/rows-in.js";
import { key } from "../keys.js";
import type { StoreSnapshot } from "../metastore.js";
import { abandonChunk, beginDelete, isFound } from "../rules/chunks.js";
import type { Tx } from "../tx.js";

export interface CleaningCase {
  readonly chunk: number;
  readonly len: number;
  /** remove: now. removing: its nodes have been told. wait: not yet. mark: its delay begins now. */
  readonly fate: "remove" | "removing" | "wait" | "mark";
  readonly why: string;
}

/** Served seconds: garbage that is dated so or earlier is removed, and an end of a session dated so counts. */
export interface CleaningDue {
  readonly garbage: number;
  readonly ended: number;
}

export async function* cleaningCases(rows: StoreSnapshot, due: CleaningDue): AsyncGenerator<CleaningCase> {
  for await (const { row } of rowsIn<"K">(rows, { from: "K", to: "L" })) {
    if (row.refs > 0) continue;
    const [fate, why] = await dryRun(rows, (tx) => (row.garbage ? ofGarbage(tx, row, due) : ofUnnamed(tx, row, due)));
    yield { chunk: row.id, len: row.len, fate, why };
  }
}

type Verdict = readonly [CleaningCase["fate"], string];

function ofGarbage(tx: Tx, { id }: ChunkRow, due: CleaningDue): Verdict {
  const garbage = tx.get(key.garbage(id));
  if (garbage?.deleting === true) return ["removing", `node ${garbage.nodes.join(", ")} has not said that it is gone`];
  if (garbage !== undefined && isFound(garbage))
    return ["wait", "nothing was known of it until a node told of it; files are searched for it first"];
  if (beginDelete(tx, id, due.garbage) !== undefined) return ["remove", "nothing names it, and its delay is over"];
  const left = (garbage?.since ?? 0) - due.garbage;
  if (left > 0) return ["wait", `nothing names it; its delay is over after ${left} s of service`];
  return ["wait", `what replaced it in inode ${garbage?.ino ?? 0} is not on enough disks yet`];
}

function ofUnnamed(tx: Tx, row: ChunkRow, due: CleaningDue): Verdict {
  const session = tx.get(key.session(row.session));
  const left = (session?.endedServedSec ?? 0) - due.ended;
  if (session?.ended === true && left > 0)
    return ["wait", `no file got it; its session's grace is over after ${left} s of service`];
  if (abandonChunk(tx, row.id)) return ["mark", "no file got it, and its session is over"];
  return ["wait", `no file has it yet; session ${row.session} may still commit it`];
}
