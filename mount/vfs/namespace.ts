import { FsError, fail } from "../../proto/errno.js";
import type { Attr, Changed, EntryReply } from "../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../proto/limits.js";
import { type Name, nameBytes } from "../../proto/name.js";
import type { Ticket } from "./answers.js";
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, isRegular } from "./modes.js";
import { type Core, SELF } from "./core.js";
import type { Caller, Found, Maybe } from "./filesystem.js";
import { foundOf, notFound } from "./found.js";
import { type At, type Move, dropMoved, isAbsent, learnMade, lostName, removed } from "./name-effects.js";
import { ToldNames } from "./told-names.js";

/** Takes what an answer tells of other inodes than the one that it is about. */
type Take = (changed: Changed | undefined, ticket: Ticket) => void;

/** Names: looked up, made, moved and removed. */
export class Namespace {
  readonly #told: ToldNames;

  constructor(private readonly core: Core) {
    this.#told = new ToldNames(core);
  }

  /** What this session was given to make things with was given up with it. */
  burnIds(): void {
    this.#told.ids.burn();
  }

  lookup(who: Caller, dir: number, name: Name): Maybe<Found> {
    const { core } = this;
    const ino = core.entries.get(dir, name);
    if (ino === 0) return notFound(core, true);
    // The kernel must not keep it: nobody would tell when somebody makes the name.
    if (ino === undefined && isAbsent(core, { dir, name })) return notFound(core, false);
    const inode = ino === undefined ? undefined : core.inodes.get(ino);
    if (inode !== undefined && core.inodes.isShown(inode)) {
      core.inodes.hold(inode);
      // What was told to be made may be kept by the kernel when the answer says so.
      return foundOf(core, inode, core.inodes.isCached(inode));
    }
    return core.ask("lookup", { dir, name: nameBytes(name) }, core.credOf(who), (reply, ticket) => {
      const attr = existing(reply);
      const isKept = core.entries.put({ dir, name }, attr?.ino ?? 0, reply.entryCached, ticket);
      if (attr === undefined) return notFound(core, isKept);
      const taken = core.inodes.take(attr, reply.cached, ticket);
      core.inodes.learnExclusive(taken, dir, reply.exclusive, ticket);
      return foundOf(core, taken, isKept);
    });
  }

  mknod(who: Caller, at: At, made: { mode: number; rdev: number; umask: number }): Maybe<Found> {
    const type = (made.mode & S_IFMT) === 0 ? S_IFREG : 0;
    const { rdev, umask } = made;
    return this.#make(who, at, { mode: made.mode | type, umask, rdev, target: Buffer.alloc(0) });
  }

  mkdir(who: Caller, at: At, made: { mode: number; umask: number }): Maybe<Found> {
    const mode = (made.mode & ~S_IFMT) | S_IFDIR;
    return this.#make(who, at, { mode, umask: made.umask, rdev: 0, target: Buffer.alloc(0) });
  }

  symlink(who: Caller, at: At, target: Buffer): Maybe<Found> {
    if (target.length === 0) fail("ENOENT");
    if (target.length > LIMITS.targetMax) fail("ENAMETOOLONG");
    return this.#make(who, at, { mode: S_IFLNK | 0o777, umask: 0, rdev: 0, target: Buffer.from(target) });
  }

  readlink(who: Caller, ino: number): Maybe<Buffer> {
    const inode = this.core.inodes.get(ino);
    if (inode?.target !== undefined) return inode.target;
    return this.core.ask("readlink", { ino }, this.core.credOf(who), ({ target }) => {
      if (inode !== undefined) inode.target = target;
      return target;
    });
  }

  link(who: Caller, ino: number, at: At): Promise<Found> {
    const { core } = this;
    core.mustBeWritable();
    const args = { ino, dir: at.dir, name: nameBytes(at.name) };
    return this.#making(at, (take) =>
      core.ask("link", args, core.credOf(who), (reply, ticket) => {
        take(reply.changed, ticket);
        return this.#arrived(at, reply, ticket);
      }),
    );
  }

  unlink(who: Caller, at: At): Maybe<void> {
    const { core } = this;
    core.mustBeWritable();
    if (this.#told.unlink(who, at)) return undefined;
    const args = { dir: at.dir, name: nameBytes(at.name) };
    return this.#dropping([at], (take) =>
      core.ask("unlink", args, core.credOf(who), ({ changed }, ticket) => {
        take(changed, ticket);
        removed(core, at, ticket);
      }),
    );
  }

  rmdir(who: Caller, at: At): Promise<void> {
    const { core } = this;
    core.mustBeWritable();
    const args = { dir: at.dir, name: nameBytes(at.name) };
    return this.#dropping([at], (take) =>
      core.ask("rmdir", args, core.credOf(who), ({ changed }, ticket) => {
        take(changed, ticket);
        removed(core, at, ticket);
      }),
    );
  }

  async rename(who: Caller, move: Move): Promise<void> {
    const { core } = this;
    core.mustBeWritable();
    if (this.#told.rename(who, move)) return;
    const { fromDir, fromName, intoDir, intoName, noReplace, exchange, whiteout = false } = move;
    if (!noReplace && !exchange) await this.#settleBeforeReplacing(move);
    const args = {
      fromDir,
      intoDir,
      noReplace,
      exchange,
      whiteout,
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
        core.ask("rename", args, core.credOf(who), ({ changed, moved, fromCached, intoCached }, ticket) => {
          take(changed, ticket);
          if (!exchange && !whiteout) core.inodes.named(fromDir, fromName, false, ticket);
          core.inodes.named(intoDir, intoName, true);
          if (whiteout) lostName(core, into, guessed ?? 0);
          if (moved === 0) return;
          lostName(core, into, moved);
          const isKept = {
            from: fromCached && ticket.isFreshEntry(fromDir, fromName),
            into: intoCached && ticket.isFreshEntry(intoDir, intoName),
          };
          voided = this.#void([from, into]);
          core.entries.putChecked(into, moved, isKept.into);
          core.entries.putChecked(from, 0, isKept.from);
          if (!isKept.into) dropMoved(core, into, moved);
        }),
      () => voided ?? this.#void([from, into]),
    );
    if (voided !== undefined) return;
    if (exchange) {
      dropMoved(core, from, replaced);
      dropMoved(core, into, guessed);
    }
    if (guessed !== undefined) core.entries.putChecked(into, guessed, false);
    if (exchange && replaced !== undefined) core.entries.putChecked(from, replaced, false);
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
    if (ino === 0 || (ino === undefined && isAbsent(core, { dir, name }))) return undefined;
    const known = ino === undefined ? undefined : core.inodes.get(ino);
    if (known !== undefined) return known.attr;
    return core.ask("lookup", { dir, name: nameBytes(name) }, SELF, (reply, ticket) => {
      const attr = existing(reply);
      if (attr !== undefined) core.inodes.absorb(attr, reply.cached, ticket);
      return attr;
    });
  }

  #make(who: Caller, at: At, made: { mode: number; umask: number; rdev: number; target: Buffer }): Maybe<Found> {
    const { core } = this;
    core.mustBeWritable();
    const request = {
      ...made,
      dir: at.dir,
      name: nameBytes(at.name),
      open: false,
      exclusive: true,
      truncate: false,
      access: 0,
    };
    const told = this.#told.make(who, request, at);
    if (told !== undefined) return told;
    return this.#making(at, (take) =>
      core.ask("make", request, core.credOf(who), (reply, ticket) => {
        take(reply.changed, ticket);
        const found = this.#arrived(at, reply, ticket);
        const inode = core.inodes.get(found.attr?.ino ?? 0);
        if (inode !== undefined && made.target.length > 0) inode.target = made.target;
        return found;
      }),
    );
  }

  #arrived(at: At, reply: EntryReply, ticket: Ticket): Found {
    const { inode, isKept } = learnMade(this.core, at, reply, ticket);
    this.core.inodes.hold(inode);
    return foundOf(this.core, inode, isKept);
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
