/**
 * What repairs metadata that does not agree with itself. Each rule takes what a check has seen and looks once more: it
 * changes nothing, and returns false, when the rows are others by now. Every operation changes a counter together with
 * what it counts; so a counter that is as it was seen is still wrong by as much, whatever has happened meanwhile.
 */
import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { nameBytes, nameOf, type Name } from "../../../proto/name.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { lostReplica, makeGarbage } from "./chunks.js";
import { changeUsage, putInode } from "./inodes.js";
import { isDir, typeOf } from "./modes.js";

export type Counter = "nlink" | "children" | "stored";

/** A counter of an inode. One that names lead to is no orphan. */
export function mendCounter(
  tx: Tx,
  at: { readonly ino: number; readonly counter: Counter },
  { seen, counted }: { readonly seen: number; readonly counted: number },
): boolean {
  const inode = tx.get(key.inode(at.ino));
  if (inode?.[at.counter] !== seen) return false;
  putInode(tx, { ...inode, [at.counter]: counted });
  if (at.counter === "nlink" && counted > 0 && tx.get(key.orphan(at.ino)) !== undefined) tx.del(key.orphan(at.ino));
  return true;
}

/** A folder that would give a cookie again. */
export function mendNextCookie(tx: Tx, dir: number, cookie: number): boolean {
  const folder = tx.get(key.inode(dir));
  if (folder === undefined || folder.nextCookie > cookie) return false;
  putInode(tx, { ...folder, nextCookie: cookie + 1 });
  return true;
}

/** A folder that says it is in another than the one that has its only name. */
export function mendParent(
  tx: Tx,
  { ino, seen }: { readonly ino: number; readonly seen: number },
  { dir, name }: { readonly dir: number; readonly name: Name },
): boolean {
  const folder = tx.get(key.inode(ino));
  if (folder?.parent !== seen || !isDir(folder) || tx.get(key.entry(dir, name))?.ino !== ino) return false;
  putInode(tx, { ...folder, parent: dir });
  return true;
}

/** A name that says another type than its inode has. */
export function mendType(tx: Tx, dir: number, name: Name): boolean {
  const entry = tx.get(key.entry(dir, name));
  const inode = entry && tx.get(key.inode(entry.ino));
  if (entry === undefined || inode === undefined || entry.type === typeOf(inode)) return false;
  tx.put(key.entry(dir, name), { ...entry, type: typeOf(inode) });
  mendListed(tx, dir, name);
  return true;
}

/** The place of a name in the listing: as its entry says, unless another name has it. */
export function mendListed(tx: Tx, dir: number, name: Name): boolean {
  const entry = tx.get(key.entry(dir, name));
  if (entry === undefined) return false;
  const { ino, type, cookie } = entry;
  const listed = tx.get(key.cookie(dir, cookie));
  if (listed !== undefined && nameOf(listed.name) !== name) return false;
  if (listed?.ino === ino && listed.type === type) return false;
  tx.put(key.cookie(dir, cookie), { name: nameBytes(name), ino, type });
  return true;
}

/** A second place of a name in the listing. One whose name has no entry stays: it may be all that is left of it. */
export function dropListed(tx: Tx, dir: number, cookie: number): boolean {
  const listed = tx.get(key.cookie(dir, cookie));
  const entry = listed && tx.get(key.entry(dir, nameOf(listed.name)));
  if (entry === undefined || entry.cookie === cookie) return false;
  tx.del(key.cookie(dir, cookie));
  return true;
}

/** An inode without a name that nobody would remove. */
export function mendOrphan(tx: Tx, ino: number): boolean {
  if (tx.get(key.inode(ino))?.nlink !== 0 || tx.get(key.orphan(ino)) !== undefined) return false;
  tx.put(key.orphan(ino), { ino });
  return true;
}

/** One that is to be removed and has a name, or is not there. */
export function dropOrphan(tx: Tx, ino: number): boolean {
  if (tx.get(key.inode(ino))?.nlink === 0 || tx.get(key.orphan(ino)) === undefined) return false;
  tx.del(key.orphan(ino));
  return true;
}

/** References and garbage of a chunk that so many slices name. EBUSY: it is named, and its copies are being removed. */
export function mendChunk(
  tx: Tx,
  chunk: number,
  { refs, isGarbage, named }: { readonly refs: number; readonly isGarbage: boolean; readonly named: number },
): boolean {
  const row = tx.get(key.chunk(chunk));
  if (row?.refs !== refs || row.garbage !== isGarbage) return false;
  const garbage = tx.get(key.garbage(chunk));
  if (named === 0) {
    if (garbage === undefined) makeGarbage(tx, { ...row, refs: 0 }, { ino: 0, version: 0 });
    else if (refs === 0 && isGarbage) return false;
    else tx.put(key.chunk(chunk), { ...row, refs: 0, garbage: true });
    return true;
  }
  if (refs === named && !isGarbage && garbage === undefined) return false;
  if (garbage?.deleting === true) fail("EBUSY", "nodes have been told to remove its copies");
  if (garbage !== undefined) tx.del(key.garbage(chunk));
  tx.put(key.chunk(chunk), { ...row, refs: named, garbage: false });
  return true;
}

/** A note to remove a chunk that is not known. */
export function dropGarbage(tx: Tx, chunk: number): boolean {
  if (tx.get(key.chunk(chunk)) !== undefined || tx.get(key.garbage(chunk)) === undefined) return false;
  tx.del(key.garbage(chunk));
  return true;
}

/** The copy that is listed on `node` and not there. EBUSY: no other one is listed any more. */
export function dropAbsent(tx: Tx, chunk: number, node: number, other: number): boolean {
  const copies = tx.get(key.chunk(chunk))?.replicas ?? [];
  const isListed = (id: number) => copies.some((copy) => copy.node === id && copy.state === ReplicaState.AVAILABLE);
  if (!isListed(node)) return false;
  if (node === other || !isListed(other)) fail("EBUSY", "the other copy is not listed any more");
  return lostReplica(tx, node, chunk) !== undefined;
}

/** The sums of the volume, by what they were wrong when they were checked: they never stand still. Not to be run twice. */
export function mendUsage(tx: Tx, wrong: { readonly inodes: number; readonly bytes: number }): boolean {
  changeUsage(tx, { inodes: -wrong.inodes, bytes: -wrong.bytes });
  return true;
}
