/**
 * How many copies of their chunks a folder or a file wants, changed for everything below it in steps:
 *
 *   setReplicas(tx, ino, replicas)        the folder itself; what is in it is noted as work (ReplicaChangeRow)
 *   changeEntries(tx, work, entries)      a bounded number of its entries: each is changed, and noted in turn
 *   changeSlots(tx, work, slots)          a bounded number of a file's slots: the chunks that they name
 *
 * What was changed by a later change is left alone, and so is what it holds. A step changes nothing when its work was
 * done, or begun anew, since it was asked for.
 */
import { fail } from "../../../proto/errno.js";
import type { ReplicaChangeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { LIMITS } from "../../../proto/limits.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { type Inode, mustInode, putInode } from "./inodes.js";
import { isDir, isFile } from "./modes.js";
import { preloadChunks, wantedFor } from "./replicas.js";
import { countChunks } from "./slices.js";
import { liveSlices, preloadSlots } from "./slot-rows.js";
import { volumeOf } from "./volume.js";

export type ReplicaChange = Readonly<ReplicaChangeRow>;

/** 0: as many copies as the volume wants. EINVAL: out of range, or what has no chunks. */
export function setReplicas(tx: Tx, ino: number, replicas: number): void {
  const inode = mustInode(tx, ino);
  if (!isDir(inode) && !isFile(inode)) fail("EINVAL", "only files and folders have copies");
  if (!Number.isInteger(replicas) || replicas < 0 || replicas > LIMITS.replicasMax)
    fail("EINVAL", `${replicas} copies: 1 to ${LIMITS.replicasMax}, or 0 for as many as the volume wants`);
  const volume = volumeOf(tx);
  const seq = (volume.replicasSeq ?? 0) + 1;
  tx.put(key.volume, { ...volume, replicasSeq: seq });
  change(tx, inode, { replicas, seq });
}

/** Entries of the folder in the order of their cookies; `done`: the last one's cookie, undefined: there are no more. */
export function changeEntries(
  tx: Tx,
  work: ReplicaChange,
  { inos, done }: { readonly inos: readonly number[]; readonly done: number | undefined },
): void {
  if (!isCurrent(tx, work)) return;
  tx.preload?.(inos.map((ino) => key.inode(ino)));
  for (const ino of inos) {
    const inode = tx.get(key.inode(ino));
    if (inode !== undefined && (isDir(inode) || isFile(inode))) change(tx, inode, work);
  }
  goOn(tx, work, done);
}

/**
 * These slots of the file exist, and none between them below `done` (undefined: no more at all). Returns the chunks that
 * want another number of copies now. A chunk that is named elsewhere, too, keeps the highest count.
 */
export function changeSlots(
  tx: Tx,
  work: ReplicaChange,
  { slots, done }: { readonly slots: readonly number[]; readonly done: number | undefined },
): number[] {
  if (!isCurrent(tx, work)) return [];
  const inode = tx.get(key.inode(work.ino));
  const changed: number[] = [];
  if (inode !== undefined) {
    for (const slot of slots) preloadSlots(tx, inode.ino, slot, slot + 1);
    const named = countChunks(slots.flatMap((slot) => liveSlices(tx, inode, slot)));
    preloadChunks(tx, named.keys());
    for (const [id, count] of named) {
      const chunk = tx.get(key.chunk(id));
      const next = chunk && wantedFor(chunk, inode.replicas ?? 0, { isAlone: chunk.refs <= count });
      if (next === undefined || next === chunk) continue;
      tx.put(key.chunk(id), next);
      changed.push(id);
    }
  }
  goOn(tx, work, inode === undefined ? undefined : done);
  return changed;
}

/** Chunks that are about to be named by the file, and by nothing yet, shall have as many copies as it wants. */
export function wantCopies(tx: Tx, ino: number, chunks: readonly number[]): void {
  const inode = tx.get(key.inode(ino));
  if (inode === undefined) return;
  preloadChunks(tx, chunks);
  for (const id of chunks) {
    const chunk = tx.get(key.chunk(id));
    if (chunk === undefined || chunk.refs > 0) continue;
    const next = wantedFor(chunk, inode.replicas ?? 0, { isAlone: true });
    if (next !== chunk) tx.put(key.chunk(id), next);
  }
}

function change(tx: Tx, inode: Inode, { replicas, seq }: Pick<ReplicaChange, "replicas" | "seq">): void {
  if ((inode.replicasSeq ?? 0) >= seq) return;
  const next = { ...inode, replicas, replicasSeq: seq };
  if ((inode.replicas ?? 0) === replicas) tx.put(key.inode(inode.ino), next);
  else putInode(tx, next);
  if (inode.children + inode.slotEnd > 0)
    tx.put(key.replicaChange(inode.ino), { ino: inode.ino, replicas, seq, done: 0 });
}

function isCurrent(tx: Tx, work: ReplicaChange): boolean {
  const now = tx.get(key.replicaChange(work.ino));
  return now?.seq === work.seq && now.done === work.done;
}

function goOn(tx: Tx, work: ReplicaChange, done: number | undefined): void {
  if (done === undefined) tx.del(key.replicaChange(work.ino));
  else tx.put(key.replicaChange(work.ino), { ...work, done });
}
