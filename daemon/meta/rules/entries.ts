/**
 * Names in folders. Invariants: an EntryRow and a CookieRow agree on name, inode, type and cookie; `children` is their
 * number; every cookie is below `next_cookie`; a folder's nlink is 2 + its subfolders.
 */
import type { EntryRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { type Name, checkedName, nameBytes, nameOf } from "../../../proto/name.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { mustAllow } from "./access.js";
import type { Context } from "./context.js";
import { type Inode, mustFolder, mustInode, putInode } from "./inodes.js";
import { S_IFDIR, X, typeOf } from "./modes.js";
import { changeTime } from "./times.js";

/** A name looked up in a folder by someone who may search it. */
export interface Place {
  readonly folder: Inode;
  readonly name: Name;
  readonly entry: Readonly<EntryRow> | undefined;
}

/** A place where there is something. */
export interface FilledPlace extends Place {
  readonly entry: Readonly<EntryRow>;
  readonly node: Inode;
}

/** ESTALE, ENOTDIR, ENOENT (the folder was removed), EINVAL and ENAMETOOLONG (the name), EACCES (no search). */
export function findPlace(tx: Tx, ctx: Context, dir: number, bytes: Uint8Array): Place {
  tx.preload?.([key.inode(dir), key.entry(dir, nameOf(bytes))]);
  const folder = mustFolder(tx, dir);
  const name = checkedName(bytes);
  mustAllow(ctx, folder, X);
  return { folder, name, entry: tx.get(key.entry(dir, name)) };
}

/** The place and its node; ENOENT when there is no such name. */
export function findNode(tx: Tx, ctx: Context, dir: number, bytes: Uint8Array): FilledPlace {
  const place = findPlace(tx, ctx, dir, bytes);
  const entry = place.entry ?? fail("ENOENT");
  return { folder: place.folder, name: place.name, entry, node: mustInode(tx, entry.ino) };
}

/** Makes the entry and updates the folder. The caller has made sure that the name is free. */
export function addEntry(tx: Tx, ctx: Context, dir: number, name: Name, child: { ino: number; mode: number }): void {
  const folder = mustInode(tx, dir);
  const type = typeOf(child);
  const cookie = folder.nextCookie;
  putEntry(tx, dir, name, { ino: child.ino, type, cookie });
  const nlink = folder.nlink + (type === S_IFDIR ? 1 : 0);
  const now = changeTime(ctx, folder);
  putInode(tx, { ...folder, nlink, children: folder.children + 1, nextCookie: cookie + 1, mtime: now, ctime: now });
}

/** Takes the entry out and updates the folder. */
export function dropEntry(tx: Tx, ctx: Context, dir: number, name: Name, entry: Readonly<EntryRow>): void {
  const folder = mustInode(tx, dir);
  tx.del(key.entry(dir, name));
  tx.del(key.cookie(dir, entry.cookie));
  const nlink = folder.nlink - (entry.type === S_IFDIR ? 1 : 0);
  const now = changeTime(ctx, folder);
  putInode(tx, { ...folder, nlink, children: folder.children - 1, mtime: now, ctime: now });
}

/** Lets the name, which keeps its cookie, stand for another inode. */
export function turnEntry(
  tx: Tx,
  ctx: Context,
  dir: number,
  name: Name,
  change: { from: Readonly<EntryRow>; to: Inode },
): void {
  const folder = mustInode(tx, dir);
  const { from, to } = change;
  const type = typeOf(to);
  putEntry(tx, dir, name, { ino: to.ino, type, cookie: from.cookie });
  const nlink = folder.nlink + (type === S_IFDIR ? 1 : 0) - (from.type === S_IFDIR ? 1 : 0);
  putInode(tx, { ...folder, nlink, mtime: ctx.now, ctime: ctx.now });
}

function putEntry(tx: Tx, dir: number, name: Name, entry: EntryRow): void {
  tx.put(key.entry(dir, name), entry);
  tx.put(key.cookie(dir, entry.cookie), { name: nameBytes(name), ino: entry.ino, type: entry.type });
}
