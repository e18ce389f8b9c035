import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import { dryRun } from "../dry-run.js";
import { key } from "../keys.js";
import type { StoreSnapshot } from "../metastore.js";
import type { Tx } from "../tx.js";
import { ofChunk, refused, type Finding } from "./finding.js";
import { rowsIn } from "./rows-in.js";

/**
 * Garbage that never goes: what replaced it has to be on enough disks before, and has no copy any more. Then the old
 * bytes may be the best that is left of the file.
 */
export async function* checkGarbage(rows: StoreSnapshot): AsyncGenerator<Finding> {
  for await (const { row } of rowsIn<"G">(rows, { from: "G", to: "H" })) {
    const { chunk, ino, version } = row;
    if (ino === 0 || row.deleting) continue;
    const lost = await dryRun(rows, (tx) => lostReplacements(tx, ino, version));
    if (lost.length === 0) continue;
    const what = `it is kept: inode ${ino} got chunk ${lost.join(", ")} instead, of which no node has a copy`;
    yield ofChunk("kept", chunk, what, KEPT, [ino]);
  }
}

const KEPT = refused(
  "it goes when that is on disk: start a node that had it again; or write the file anew or remove it, and cleaning goes on",
);

/** Chunks that the file had got by that version and that cannot be read. */
function lostReplacements(tx: Tx, ino: number, version: number): number[] {
  const { chunks = [], versions = [] } = tx.get(key.unsynced(ino)) ?? {};
  return chunks.filter((id, i) => {
    if ((versions[i] ?? 0) > version) return false;
    const chunk = tx.get(key.chunk(id));
    if (chunk === undefined || chunk.refs === 0) return false;
    return !chunk.replicas.some(({ state }) => state === ReplicaState.AVAILABLE);
  });
}
