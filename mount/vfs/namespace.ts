import { FsError, fail } from "../../proto/errno.js";
import type { Attr, Changed, EntryReply } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import { LIMITS } from "../../proto/limits.js";
import { type Name, nameBytes } from "../../proto/name.js";
import type { Ticket } from "./answers.js";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, isFolder, isRegular } from "./modes.js";
import { type Core, SELF, credOf, mustAttr } from "./core.js";
import type { Caller, Found, Maybe } from "./filesystem.js";
import { foundOf, notFound } from "./found.js";
import type { Inode } from "./inode.js";
import type { OpArgs, OpResult } from "./ports.js";

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
}

/** Takes what an answer tells of other inodes than the one that it is about. */
type Take = (changed: Changed | undefined, ticket: Ticket) => void;

/** Names: looked up, made, moved and removed. */
export class Namespace {
  constructor(private readonly core: Core) {}

  lookup(who: Caller, dir: number, name: Name): Maybe<Found> {
    const { core } = this;
    const ino = core.entries.get(dir, name);
    if (ino === 0) return notFound(core, true);
    // The kernel must not keep it: nobody would tell when somebody makes the name.
    if (ino === undefined && this.#isAbsent({ dir, name })) return notFound(core, false);
    const inode = ino === undefined ? undefined : core.inodes.get(ino);
    if (inode !== undefined && core.inodes.isCached(inode)) {
      core.inodes.hold(inode);
      return foundOf(core, inode, true);
    }
    return core.ask("lookup", { dir, name: nameBytes(name) }, credOf(who), (reply, ticket) => {
      const attr = existing(reply);
      const isKept = core.entries.put({ dir, name }, attr?.ino ?? 0, reply.entryCached, ticket);
      if (attr === undefined) return notFound(core, isKept);
      const taken = core.inodes.take(attr, reply.cached, ticket);
      core.inodes.learnExclusive(taken, dir, reply.exclusive, ticket);
      return foundOf(core, taken, isKept);
    });
  }

  mknod(who: Caller, at: At, made: { mode: number; rdev: number; umask: number }): Promise<Found> {
    const type = (made.mode & S_IFMT) === 0 ? S_IFREG : 0;
    const { rdev, umask } = made;
    return this.#make(who, at, { mode: made.mode | type, umask, rdev, target: Buffer.alloc(0) });
  }

  mkdir(who: Caller, at: At, made: { mode: number; umask: number }): Promise<Found> {
    const mode = (made.mode & ~S_IFMT) | S_IFDIR;
    return this.#make(who, at, { mode, umask: made.umask, rdev: 0, target: Buffer.alloc(0) });
  }

  symlink(who: Caller, at: At, target: Buffer): Promise<Found> {
    if (target.length === 0) fail("ENOENT");
    if (target.length > LIMITS.targetMax) fail("ENAMETOOLONG");
    return this.#make(who, at, { mode: S_IFLNK | 0o777, umask: 0, rdev: 0, target: Buffer.from(target) });
  }

  readlink(who: Caller, ino: number): Maybe<Buffer> {
    const inode = this.core.inodes.get(ino);
    if (inode?.target !== undefined) return inode.target;
    return this.core.ask("readlink", { ino }, credOf(who), ({ target }) => {
      if (inode !== undefined) inode.target = target;
      return target;
    });
  }

  link(who: Caller, ino: number, at: At): Promise<Found> {
    const { core } = this;
    core.mustBeWritable();
    const args = { ino, dir: at.dir, name: nameBytes(at.name) };
    return this.#making(at, (take) =>
      core.ask("link", args, credOf(who), (reply, ticket) => {
        take(reply.changed, ticket);
        return this.#arrived(at, reply, ticket);
      }),
    );
  }

  unlink(who: Caller, at: At): Maybe<void> {
    const { core } = this;
    core.mustBeWritable();
    if (this.#unlinkEarly(who, at)) return undefined;
    const args = { dir: at.dir, name: nameBytes(at.name) };
    return this.#dropping([at], (take) =>
      core.ask("unlink", args, credOf(who), ({ changed }, ticket) => {
        take(changed, ticket);
        this.#removed(at, ticket);
      }),
    );
  }

  /** In a folder that this session has exclusively the answer is known. False: it is not. */
  #unlinkEarly(who: Caller, at: At): boolean {
    const { core } = this;
    const { inodes, entries, early } = core;
    const { dir, name } = at;
    const folder = inodes.get(dir);
    const inode = inodes.get(entries.get(dir, name) ?? 0);
    if (folder === undefined || inode === undefined || !early.isReady) return false;
    // What is open, or has data to store, lives on; with other names it is not known by this one alone.
    const isLast = inode.attr.nlink === 1 && inode.file === undefined && !isFolder(inode.attr);
    if (!isLast || !inodes.isExclusive(folder, inode)) return false;
    if (early.isAbout(dir, name) || early.isAboutInode(inode.ino)) return false;
    const now = core.nowAfter(folder.attr.ctime);
    this.#removed(at);
    entries.invalidate(dir, name);
    inodes.invalidate(inode.ino);
    inodes.changedAt(folder, now, 1);
    const args = { dir, name: nameBytes(name) };
    this.#tell("unlink", args, { who, now, folder, inode, names: [name] }, () => {});
    return true;
  }

  /** Sends a change of a folder that was told. `answered`: takes in what its answer tells of the names. */
  #tell<C extends "unlink" | "rename">(
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
    inodes.keep(folder);
    early
      .send(op, args, { who: credOf(who), now, dir, ino: inode.ino, names })
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
          }
        },
      )
      .finally(() => {
        core.answers.end(ticket);
        inodes.release(folder);
      });
  }

  rmdir(who: Caller, at: At): Promise<void> {
    const { core } = this;
    core.mustBeWritable();
    const args = { dir: at.dir, name: nameBytes(at.name) };
    return this.#dropping([at], (take) =>
      core.ask("rmdir", args, credOf(who), ({ changed }, ticket) => {
        take(changed, ticket);
        this.#removed(at, ticket);
      }),
    );
  }

  async rename(who: Caller, move: Move): Promise<void> {
    const { core } = this;
    core.mustBeWritable();
    if (this.#renameEarly(who, move)) return;
    const { fromDir, fromName, intoDir, intoName, noReplace, exchange } = move;
    if (!noReplace && !exchange) await this.#settleBeforeReplacing(move);
    const args = {
      fromDir,
      intoDir,
      noReplace,
      exchange,
      fromName: nameBytes(fromName),
      intoName: nameBytes(intoName),
    };
    const from = { dir: fromDir, name: fromName };
    const into = { dir: intoDir, name: intoName };
    const guessed = core.entries.guess(fromDir, fromName);
    const replaced = core.entries.guess(intoDir, intoName);
    let voided: readonly number[] | undefined;
    await this.#changing(
      (take) =>
        core.ask("rename", args, credOf(who), ({ changed, moved, fromCached, intoCached }, ticket) => {
          take(changed, ticket);
          if (!exchange) core.inodes.named(fromDir, fromName, false, ticket);
          core.inodes.named(intoDir, intoName, true);
          if (moved === 0) return;
          const isKept = {
            from: fromCached && ticket.isFreshEntry(fromDir, fromName),
            into: intoCached && ticket.isFreshEntry(intoDir, intoName),
          };
          voided = this.#void([from, into]);
          core.entries.putChecked(into, moved, isKept.into);
          core.entries.putChecked(from, 0, isKept.from);
        }),
      () => voided ?? this.#void([from, into]),
    );
    if (voided !== undefined) return;
    if (guessed !== undefined) core.entries.putChecked(into, guessed, false);
    if (exchange && replaced !== undefined) core.entries.putChecked(from, replaced, false);
  }

  /** To a name of the same folder that is free: as `#unlinkEarly`. */
  #renameEarly(who: Caller, { fromDir: dir, fromName, intoDir, intoName, exchange }: Move): boolean {
    const { core } = this;
    const { inodes, entries, early } = core;
    const folder = inodes.get(dir);
    const inode = inodes.get(entries.get(dir, fromName) ?? 0);
    if (folder === undefined || inode === undefined || dir !== intoDir || exchange || !early.isReady) return false;
    // Data to store would change the inode meanwhile; with other names it is not known by this one alone.
    const isPlain = inode.attr.nlink === 1 && inode.file === undefined && !isFolder(inode.attr);
    if (!isPlain || core.busy.has(inode.ino) || !inodes.isExclusive(folder, inode)) return false;
    if (early.isAbout(dir, fromName) || early.isAbout(dir, intoName) || early.isAboutInode(inode.ino)) return false;
    const into = { dir, name: intoName };
    if (entries.get(dir, intoName) !== 0 && !this.#isAbsent(into)) return false;
    const now = core.nowAfter(folder.attr.ctime, inode.attr.ctime);
    inodes.named(dir, fromName, false);
    inodes.named(dir, intoName, true);
    entries.invalidate(dir, fromName);
    entries.invalidate(dir, intoName);
    entries.putChecked(into, inode.ino, false);
    // One name less, then one more.
    inodes.changedAt(folder, now, 2);
    inodes.movedAt(inode, now);
    const names = { fromName: nameBytes(fromName), intoName: nameBytes(intoName) };
    // Whatever is wrong here, it must not cost a file.
    const args = { fromDir: dir, intoDir: dir, ...names, noReplace: true, exchange };
    const about = { who, now, folder, inode, names: [fromName, intoName] };
    this.#tell("rename", args, about, ({ intoCached }, ticket) => {
      if (ticket.isFreshEntry(dir, intoName)) entries.putChecked(into, inode.ino, intoCached);
    });
    return true;
  }

  /**
   * The new content of a name must be durable before it takes the place of the old: programs that save by "write a new
   * file, rename it over" do not all call fsync, and after a power cut the name must lead to one of both, whole.
   */
  async #settleBeforeReplacing({ fromDir, fromName, intoDir, intoName }: Move): Promise<void> {
    const { core } = this;
    const replaced = await this.#resolve({ dir: intoDir, name: intoName });
    if (replaced === undefined || !isRegular(replaced)) return;
    const source = await this.#resolve({ dir: fromDir, name: fromName });
    if (source === undefined || !isRegular(source) || source.ino === replaced.ino) return;
    const inode = core.inodes.get(source.ino);
    const heard = inode?.errors.count;
    const isSynced = await inode?.file?.writer.sync();
    // Who wrote it is told by its own handle; the old content stays.
    if (inode?.errors.count !== heard) throw new FsError("EIO", "the new content was not stored");
    if (isSynced !== true) await core.ask("fsync", { ino: source.ino }, SELF, () => undefined);
  }

  /** What the name leads to, without a reference for the kernel. */
  async #resolve({ dir, name }: At): Promise<Attr | undefined> {
    const { core } = this;
    const ino = core.entries.get(dir, name);
    if (ino === 0 || (ino === undefined && this.#isAbsent({ dir, name }))) return undefined;
    const known = ino === undefined ? undefined : core.inodes.get(ino);
    if (known !== undefined) return known.attr;
    return core.ask("lookup", { dir, name: nameBytes(name) }, SELF, (reply, ticket) => {
      const attr = existing(reply);
      if (attr !== undefined) core.inodes.absorb(attr, reply.cached, ticket);
      return attr;
    });
  }

  #isAbsent(at: At): boolean {
    const { inodes, entries } = this.core;
    if (!inodes.isAbsent(at.dir, at.name)) return false;
    entries.putChecked(at, 0, false);
    return true;
  }

  #make(who: Caller, at: At, made: { mode: number; umask: number; rdev: number; target: Buffer }): Promise<Found> {
    const { core } = this;
    core.mustBeWritable();
    const { mode, umask, rdev, target } = made;
    const request = {
      dir: at.dir,
      name: nameBytes(at.name),
      mode,
      umask,
      rdev,
      target,
      open: false,
      exclusive: true,
      truncate: false,
      access: 0,
    };
    return this.#making(at, (take) =>
      core.ask("make", request, credOf(who), (reply, ticket) => {
        take(reply.changed, ticket);
        const found = this.#arrived(at, reply, ticket);
        const inode = found.attr === undefined ? undefined : core.inodes.get(found.attr.ino);
        if (inode !== undefined && made.target.length > 0) inode.target = made.target;
        if (inode !== undefined && (made.mode & S_IFMT) === S_IFDIR) core.inodes.listed(inode, []);
        return found;
      }),
    );
  }

  #removed({ dir, name }: At, ticket?: Ticket): void {
    const { inodes, entries } = this.core;
    inodes.named(dir, name, false, ticket);
    const inode = inodes.get(entries.guess(dir, name) ?? 0);
    if (inode !== undefined) inode.lostName = true;
  }

  /** A name that was made leads here now. */
  #arrived(at: At, reply: EntryReply, ticket: Ticket): Found {
    const { core } = this;
    core.inodes.named(at.dir, at.name, true);
    const attr = mustAttr(reply.attr);
    const inode = core.inodes.take(attr, reply.cached, ticket);
    core.inodes.learnExclusive(inode, at.dir, reply.exclusive, ticket);
    const isKept = core.entries.putOwn(at, attr.ino, reply.entryCached, ticket);
    core.answers.inodeChanged(attr.ino);
    return foundOf(core, inode, isKept);
  }

  /** Names that are made: what they lead to, and their folders, are not what they were. */
  #making<T>(at: At, work: (take: Take) => Promise<T>): Promise<T> {
    return this.#changing(
      async (take) => {
        try {
          return await work(take);
        } catch (error) {
          // It may have been done although no answer came.
          this.core.entries.invalidate(at.dir, at.name);
          throw error;
        }
      },
      () => [at.dir],
    );
  }

  /**
   * Names that go, and names that may be replaced: whatever comes of it, what was known of them, of what they led to and
   * of their folders is void.
   */
  #dropping(places: readonly At[], work: (take: Take) => Promise<void>): Promise<void> {
    return this.#changing(work, () => this.#void(places));
  }

  /** What was known of these names is void. Returns what they led to, and their folders. */
  #void(places: readonly At[]): number[] {
    const { entries, inodes } = this.core;
    return places.flatMap(({ dir, name }) => {
      const ino = entries.guess(dir, name);
      entries.invalidate(dir, name);
      if (ino === undefined) inodes.invalidateAll();
      return ino === undefined || ino === 0 ? [dir] : [dir, ino];
    });
  }

  /** Afterwards all inodes that may have changed are void, except those that the answer told of. */
  async #changing<T>(work: (take: Take) => Promise<T>, mayHaveChanged: () => readonly number[]): Promise<T> {
    const { inodes } = this.core;
    let told: ReadonlySet<number> = new Set();
    try {
      return await work((changed, ticket) => {
        told = inodes.absorbChanged(changed, ticket);
      });
    } finally {
      for (const ino of mayHaveChanged()) if (!told.has(ino)) inodes.invalidate(ino);
    }
  }
}

function existing(reply: EntryReply): Attr | undefined {
  return reply.attr === undefined || reply.attr.ino === 0 ? undefined : reply.attr;
}
