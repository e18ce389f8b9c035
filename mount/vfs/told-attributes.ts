/**
 * Attributes that were set here and are not at the metadata daemon yet, of files that nobody else can look at before
 * they are (`InodeTable.enclosing`). Of a file with data to store they go with its next commit, so that a program that
 * writes a file and sets mode, owner and times costs one message; of others they go at once (`tellAttributes`).
 */
import type { Attr, SetAttr } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import { type Core, SELF } from "./core.js";
import type { Change } from "./filesystem.js";
import type { Inode } from "./inode.js";

export interface ToldAttributes {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly atime?: Time;
  readonly mtime?: Time;
  /** When the last of them was set. */
  readonly at: Time;
  /** The folder that has the file. */
  readonly dir: number;
}

const S_IFMT = 0o170000;
const S_ISUID_S_ISGID = 0o6000;

/**
 * What comes of a change is known without asking: it does not touch the data, and whoever takes a program's file over
 * does not take its privileges (then the daemon decides what is left of them).
 */
export function isForetold(attr: Attr, { mode, uid, gid, size }: Change): boolean {
  const isGiven = uid !== undefined || gid !== undefined;
  return size === undefined && !(isGiven && mode === undefined && (attr.mode & S_ISUID_S_ISGID) !== 0);
}

/** One change more. */
export function withChange(told: ToldAttributes | undefined, change: Change, at: Time, dir: number): ToldAttributes {
  const { mode, uid, gid, atime, mtime } = change;
  return {
    ...told,
    ...(mode === undefined ? {} : { mode }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(atime === undefined ? {} : { atime: atime === "now" ? at : atime }),
    ...(mtime === undefined ? {} : { mtime: mtime === "now" ? at : mtime }),
    at,
    dir,
  };
}

/** The attributes with them. */
export function shownWith(attr: Attr, told: ToldAttributes): Attr {
  const { mode, uid = attr.uid, gid = attr.gid, atime = attr.atime, mtime = attr.mtime, at } = told;
  const bits = mode === undefined ? attr.mode : (attr.mode & S_IFMT) | (mode & ~S_IFMT);
  return { ...attr, mode: bits, uid, gid, atime, mtime, ctime: at };
}

/** What to ask the metadata daemon for. `mtime` false: something was written since. */
export function requestFor(ino: number, told: ToldAttributes, { mtime }: { readonly mtime: boolean }): SetAttr {
  return {
    ino,
    mode: told.mode,
    uid: told.uid,
    gid: told.gid,
    size: undefined,
    atime: told.atime,
    mtime: mtime ? told.mtime : undefined,
    atimeNow: false,
    mtimeNow: false,
  };
}

/** Shows them from now on, and tells the metadata daemon, whose answer nobody waits for. */
export function tellAttributes(core: Core, inode: Inode, told: ToldAttributes): void {
  const { answers, inodes, early } = core;
  const { ino } = inode;
  const request = requestFor(ino, told, { mtime: inode.file?.writer.mtime === undefined });
  inode.changedHere(shownWith(inode.attr, told));
  answers.inodeForetold(ino);
  const ticket = answers.begin();
  early
    .send("setattr", request, { who: SELF, now: told.at, dir: told.dir, ino, names: [] })
    .then(
      ({ attr, cached }) => {
        if (attr !== undefined) inodes.absorb(attr, cached, ticket);
      },
      (error: unknown) => {
        core.parts.log.error({ err: error, ino }, "attributes that were told were not set");
        core.lostChanges.add("EIO");
        inode.errors.add("EIO");
        inodes.invalidate(ino);
        inode.attr = { ...inode.attr, version: 0 };
        core.notify(core.kernel.dropAttributes(ino));
      },
    )
    .finally(() => answers.end(ticket));
}
