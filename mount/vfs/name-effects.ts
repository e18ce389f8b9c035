/** What is known here after own changes of names. */
import type { EntryReply } from "../../proto/gen/bigfs/v1/meta.js";
import type { Name } from "../../proto/name.js";
import type { Ticket } from "./answers.js";
import { type Core, mustAttr } from "./core.js";
import type { Inode } from "./inode.js";
import { isFolder } from "./modes.js";

export interface At {
  readonly dir: number;
  readonly name: Name;
}

export interface Move {
  readonly fromDir: number;
  readonly fromName: Name;
  readonly intoDir: number;
  readonly intoName: Name;
  readonly noReplace: boolean;
  readonly exchange: boolean;
  readonly whiteout?: boolean;
}

/** There is no such name, and it need not be asked. */
export function isAbsent({ inodes, entries }: Core, at: At): boolean {
  if (!inodes.isAbsent(at.dir, at.name)) return false;
  entries.putChecked(at, 0, false);
  return true;
}

/** The name leads to nothing now. */
export function removed(core: Core, at: At, ticket?: Ticket): void {
  core.inodes.named(at.dir, at.name, false, ticket);
  lostName(core, at, 0);
}

/** The name leads to something else now (0: to nothing): what it led to has lost it. */
export function lostName({ inodes, entries }: Core, { dir, name }: At, now: number): void {
  const inode = inodes.get(entries.guess(dir, name) ?? 0);
  if (inode !== undefined && inode.ino !== now) inode.lostName = true;
}

/**
 * A rename has brought something to this name, and it may not be kept. The kernel keeps it all the same, for as long as
 * it might have kept the old name; but nobody tells when it leads to something else.
 */
export function dropMoved(core: Core, { dir, name }: At, ino: number | undefined): void {
  core.notify(core.dropEntry(dir, name, ino));
}

/** A name that was made leads here now; a folder is new. The caller gives the inode a reference for the kernel. */
export function learnMade(
  core: Core,
  at: At,
  reply: EntryReply,
  ticket: Ticket,
): { readonly inode: Inode; readonly isKept: boolean } {
  const { inodes, entries, answers } = core;
  const attr = mustAttr(reply.attr);
  inodes.named(at.dir, at.name, true);
  const inode = inodes.add(attr);
  inodes.absorb(attr, reply.cached, ticket);
  inodes.learnExclusive(inode, at.dir, reply.exclusive, ticket, isFolder(attr));
  if (isFolder(attr)) inodes.listed(inode, []);
  const isKept = entries.putOwn(at, attr.ino, reply.entryCached, ticket);
  answers.inodeChanged(attr.ino);
  return { inode, isKept };
}
