/**
 * Names that are made, moved and removed before the metadata daemon has answered, in folders that this session has
 * exclusively: what comes of it is known here, and nobody else can look before it is done (EarlyChanges). CephFS does
 * the same with "asynchronous directory operations" and inode numbers that were delegated to the client.
 */
import { type Name, nameBytes } from "../../proto/name.js";
import type { Make } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import type { Ticket } from "./answers.js";
import type { Core } from "./core.js";
import type { Caller, Found } from "./filesystem.js";
import { foundOf } from "./found.js";
import { Ids } from "./ids.js";
import type { Inode } from "./inode.js";
import { isFolder } from "./modes.js";
import { type At, type Move, dropMoved, isAbsent, learnMade, removed } from "./name-effects.js";
import { newAttr } from "./new-attr.js";
import type { OpArgs, OpResult } from "./ports.js";

/** A burst of makes shall not wait for ids; what is left when the session ends is never used. */
const INODE_IDS = { from: "inodes", perRequest: 256, low: 128 } as const;

type ToldOp = "make" | "unlink" | "rename";

export class ToldNames {
  readonly ids: Ids;

  constructor(private readonly core: Core) {
    this.ids = new Ids(core.parts.meta, INODE_IDS);
  }

  /**
   * Only in a folder that nobody else has seen: a name may be a lock, and then it must not be that of a session which is
   * cut off without knowing it. Undefined: the metadata daemon must be asked.
   */
  make(who: Caller, args: Make, at: At): Found | undefined {
    const { core } = this;
    const { inodes, entries, early } = core;
    const { dir, name } = at;
    const folder = inodes.get(dir);
    if (folder?.exclusive?.isMaker !== true || !inodes.isHeld(folder)) return undefined;
    // A default access control list is inherited.
    if (folder.attr.hasXattrs !== false) return undefined;
    if (!core.isForeseeable || early.isAbout(dir, name)) return undefined;
    if (entries.get(dir, name) !== 0 && !isAbsent(core, at)) return undefined;
    const ino = this.ids.take();
    if (ino === undefined) return undefined;
    const now = core.nowAfter(folder.attr.ctime);
    const inode = inodes.madeHere(newAttr(folder.attr, who, args, { ino, now }));
    inodes.named(dir, name, true);
    entries.invalidate(dir, name);
    entries.putChecked(at, ino, true);
    inodes.changedAt(folder, now, { versions: 1, folders: isFolder(inode.attr) ? 1 : 0 });
    if (args.target.length > 0) inode.target = args.target;
    this.#tell("make", args, { who, now, folder, inode, names: [name] }, (reply, ticket) => {
      inode.shownUntilMs = 0;
      learnMade(core, at, reply, ticket);
    });
    return foundOf(core, inode, false);
  }

  /** False: the metadata daemon must be asked. */
  unlink(who: Caller, at: At): boolean {
    const { core } = this;
    const { inodes, entries, early } = core;
    const { dir, name } = at;
    const folder = inodes.get(dir);
    const inode = inodes.get(entries.get(dir, name) ?? 0);
    if (folder === undefined || inode === undefined || !core.isForeseeable) return false;
    // What is open, or has data to store, lives on; with other names it is not known by this one alone.
    const isLast = inode.attr.nlink === 1 && inode.file === undefined && !isFolder(inode.attr);
    if (!isLast || !inodes.isExclusive(folder, inode)) return false;
    if (early.isAbout(dir, name) || early.isAboutInode(inode.ino)) return false;
    const now = core.nowAfter(folder.attr.ctime);
    removed(core, at);
    entries.invalidate(dir, name);
    inodes.invalidate(inode.ino);
    inodes.changedAt(folder, now, { versions: 1 });
    const args = { dir, name: nameBytes(name) };
    this.#tell("unlink", args, { who, now, folder, inode, names: [name] }, () => {});
    return true;
  }

  /** To a name of the same folder that is free. False: the metadata daemon must be asked. */
  rename(who: Caller, { fromDir: dir, fromName, intoDir, intoName, exchange, whiteout }: Move): boolean {
    const { core } = this;
    const { inodes, entries, early } = core;
    const folder = inodes.get(dir);
    const inode = inodes.get(entries.get(dir, fromName) ?? 0);
    if (folder === undefined || inode === undefined || !core.isForeseeable) return false;
    if (dir !== intoDir || exchange || whiteout === true) return false;
    // Data to store would change the inode meanwhile; with other names it is not known by this one alone.
    const isPlain = inode.attr.nlink === 1 && inode.file === undefined && !isFolder(inode.attr);
    if (!isPlain || core.busy.has(inode.ino) || !inodes.isExclusive(folder, inode)) return false;
    if (early.isAbout(dir, fromName) || early.isAbout(dir, intoName) || early.isAboutInode(inode.ino)) return false;
    const into = { dir, name: intoName };
    if (entries.get(dir, intoName) !== 0 && !isAbsent(core, into)) return false;
    const now = core.nowAfter(folder.attr.ctime, inode.attr.ctime);
    inodes.named(dir, fromName, false);
    inodes.named(dir, intoName, true);
    entries.invalidate(dir, fromName);
    entries.invalidate(dir, intoName);
    entries.putChecked(into, inode.ino, false);
    // One name less, then one more.
    inodes.changedAt(folder, now, { versions: 2 });
    inodes.movedAt(inode, now);
    const names = { fromName: nameBytes(fromName), intoName: nameBytes(intoName) };
    // Whatever is wrong here, it must not cost a file.
    const args = { fromDir: dir, intoDir: dir, ...names, noReplace: true, exchange };
    const about = { who, now, folder, inode, names: [fromName, intoName] };
    this.#tell("rename", args, about, ({ intoCached }, ticket) => {
      if (!ticket.isFreshEntry(dir, intoName)) return;
      entries.putChecked(into, inode.ino, intoCached);
      if (!intoCached) dropMoved(core, into, inode.ino);
    });
    return true;
  }

  /** Sends a change of a folder that was told. `answered`: takes in what its answer tells of the names. */
  #tell<C extends ToldOp>(
    op: C,
    args: OpArgs<C>,
    about: {
      readonly who: Caller;
      readonly now: Time;
      readonly folder: Inode;
      readonly inode: Inode;
      readonly names: readonly Name[];
    },
    answered: (reply: OpResult<C>, ticket: Ticket) => void,
  ): void {
    const { core } = this;
    const { inodes, entries, early } = core;
    const { who, now, folder, inode, names } = about;
    const dir = folder.ino;
    const ticket = core.answers.begin();
    for (const changed of [folder, inode]) inodes.keep(changed);
    early
      .send(op, args, { who: core.credOf(who), now, dir, ino: inode.ino, names })
      .then(
        (reply) => {
          // A later change of our own is not in these attributes.
          if (ticket.isFreshInode(dir)) inodes.absorbChanged(reply.changed, ticket);
          answered(reply, ticket);
        },
        (error: unknown) => {
          core.parts.log.error({ err: error, op, dir, names }, "a change of names that was told was not made");
          core.lostChanges.add("EIO");
          for (const name of names) entries.invalidate(dir, name);
          for (const changed of [folder, inode]) {
            inodes.invalidate(changed.ino);
            changed.attr = { ...changed.attr, version: 0 };
            core.notify(core.kernel.dropAttributes(changed.ino));
          }
        },
      )
      .finally(() => {
        core.answers.end(ticket);
        for (const changed of [folder, inode]) inodes.release(changed);
      });
  }
}
