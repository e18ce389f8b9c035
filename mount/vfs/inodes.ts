import type { Attr, Changed } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import type { Cancel, Clock } from "../../daemon/common/clock.js";
import type { Name } from "../../proto/name.js";
import type { Answers, Ticket } from "./answers.js";
import type { Attributes } from "./filesystem.js";
import { type Exclusivity, Inode } from "./inode.js";
import { KnownNames } from "./known-names.js";
import { isFolder } from "./modes.js";
import type { MetaClient } from "./ports.js";

/** Longest time for which the kernel is told to keep something; it asks again under the lease that was renewed since. */
const VALID_MS_MAX = 10_000;

/** Inodes that the kernel forgot are told to the metadata daemon in batches: when so many wait, or after so long. */
const FORGET_BATCH = 512;
const FORGET_MS = 1_000;

/**
 * The inodes that are known.
 *
 * Invariants:
 * - Attributes with an older version never replace newer ones.
 * - `lookups` is exactly what Found answers gave minus what the kernel forgot; an inode without lookups, handles, told
 *   changes and data to store is idle while it is cached, and otherwise not in the table, and the metadata daemon is told.
 * - What is cached is used only while the lease lasts, and not after a recall.
 */
export class InodeTable {
  readonly #inodes = new Map<number, Inode>();
  /** The one that the kernel forgot longest ago first. */
  readonly #idle = new Set<Inode>();
  #epoch = 1;
  #serial = 0;
  /** Whoever adds a name to a folder changes its attributes. */
  readonly #names = new KnownNames();
  #forgotten = new Set<number>();
  #cancelForget: Cancel | undefined;

  constructor(
    private readonly parts: { readonly meta: MetaClient; readonly clock: Clock; readonly answers: Answers },
    readonly root: number,
    /** The kernel often asks again for what it dropped for want of memory: so many are kept while they are cached. */
    private readonly idleMax: number,
  ) {}

  /** Inodes that are not idle. */
  get size(): number {
    return this.#inodes.size - this.#idle.size;
  }

  all(): Iterable<Inode> {
    return this.#inodes.values();
  }

  get(ino: number): Inode | undefined {
    return this.#inodes.get(ino);
  }

  /** Which Inode object stands for the folder; undefined: none, and nothing in it may be cached. */
  serialOf(dir: number): number | undefined {
    // The kernel never gives the root back, and need not have asked for it.
    return dir === this.root ? 0 : this.#inodes.get(dir)?.serial;
  }

  /** The attributes may be used without asking. */
  isCached(inode: Inode): boolean {
    return inode.cachedIn === this.#epoch && this.parts.meta.leaseLeftMs() > 0;
  }

  /** The attributes may be shown without asking, though the kernel must not keep them. */
  isShown(inode: Inode): boolean {
    return this.isCached(inode) || inode.shownUntilMs > this.parts.clock.monotonicMs();
  }

  /** How long the kernel may keep what is cached. */
  validMs(cached: boolean): number {
    return cached ? Math.max(0, Math.min(VALID_MS_MAX, this.parts.meta.leaseLeftMs())) : 0;
  }

  /** Takes attributes from an answer and returns what is known now. An inode that is not in the table is not added. */
  absorb(attr: Attr, cached: boolean, ticket: Ticket): Attributes {
    const inode = this.#inodes.get(attr.ino);
    if (inode === undefined) return { attr, attrMs: 0 };
    this.#update(inode, attr, cached && ticket.isFreshInode(attr.ino));
    return this.attributes(inode);
  }

  /** What an own operation on names has changed besides what it was about. Returns the inodes that are known now. */
  absorbChanged(changed: Changed | undefined, ticket: Ticket): ReadonlySet<number> {
    const attrs = changed?.attrs ?? [];
    for (const attr of attrs) {
      const inode = this.#inodes.get(attr.ino);
      if (inode !== undefined) {
        inode.file?.touched(attr, ticket);
        this.keepPages(inode, attr, ticket);
        this.#update(inode, attr, ticket.isFreshInode(attr.ino));
        // It does not show what was told meanwhile, and what is known does not show what it tells.
        if (ticket.isBehind(attr.ino)) inode.cachedIn = 0;
      }
      // Answers that are under way are older.
      this.parts.answers.inodeChanged(attr.ino);
    }
    const told = new Set(attrs.map(({ ino }) => ino));
    for (const attr of changed?.shared ?? []) {
      this.show(attr, changed?.shownMs ?? 0, ticket);
      this.parts.answers.inodeChanged(attr.ino);
      told.add(attr.ino);
    }
    return told;
  }

  /** Attributes of a folder that nobody may cache, to be shown for so long after they were asked for. */
  show(attr: Attr, shownMs: number, ticket: Ticket): void {
    const inode = this.#inodes.get(attr.ino);
    if (inode === undefined) return;
    this.#update(inode, attr, false);
    if (inode.attr === attr && ticket.isFreshInode(attr.ino)) inode.shownUntilMs = ticket.atMs + shownMs;
  }

  /** What an answer that was just taken in tells of an inode and the folder that it was found in. */
  learnExclusive(inode: Inode, dir: number, isExclusive: boolean, ticket: Ticket, isMaker = false): void {
    if (!isExclusive || inode.cachedIn !== this.#epoch || !ticket.isFreshInode(inode.ino)) return;
    if (!isFolder(inode.attr)) this.enclose(inode, this.exclusiveOf(dir));
    else inode.exclusive ??= { folder: inode, isMaker };
  }

  /** Undefined: this session has not the folder exclusively. */
  exclusiveOf(dir: number): Exclusivity | undefined {
    return this.#inodes.get(dir)?.exclusive;
  }

  /** The inode is known by a name in this folder. */
  enclose(inode: Inode, exclusive: Exclusivity | undefined): void {
    if (inode.cachedIn === this.#epoch) inode.enclosed = exclusive;
  }

  /** Nobody else can see before the daemon has done it what is done to names of this folder. */
  isHeld(folder: Inode): boolean {
    return folder.exclusive !== undefined && this.isCached(folder);
  }

  /** The same of what is done to this name of that inode. */
  isExclusive(folder: Inode, inode: Inode): boolean {
    return this.isHeld(folder) && inode.enclosed === folder.exclusive && this.isCached(inode);
  }

  /** The folder through which alone others could see the inode, and not before the daemon has done what is told of it. */
  enclosing(inode: Inode): Inode | undefined {
    const folder = inode.enclosed?.folder;
    if (folder === undefined || inode.attr.nlink !== 1 || this.#inodes.get(folder.ino) !== folder) return undefined;
    return this.isExclusive(folder, inode) ? folder : undefined;
  }

  /**
   * An own change of names that is not answered yet was made at this time, which makes so many versions of the folder,
   * and so many folders more in it.
   */
  changedAt(folder: Inode, now: Time, { versions, folders = 0 }: { versions: number; folders?: number }): void {
    const { nlink, version } = folder.attr;
    folder.attr = { ...folder.attr, nlink: nlink + folders, mtime: now, ctime: now, version: version + versions };
    this.parts.answers.inodeForetold(folder.ino);
  }

  /**
   * An inode that is not answered yet, with a reference for the kernel: these attributes are shown without asking until
   * they are or the lease is over, but the kernel must not keep them.
   */
  madeHere(attr: Attr): Inode {
    const { clock, meta } = this.parts;
    const inode = this.add(attr);
    inode.shownUntilMs = clock.monotonicMs() + meta.leaseLeftMs();
    this.hold(inode);
    return inode;
  }

  /** Until `release` the inode stays in the table. */
  keep(inode: Inode): void {
    inode.told += 1;
  }

  release(inode: Inode): void {
    inode.told -= 1;
    this.retire(inode);
  }

  /** The same of what a name led to that has another name now. */
  movedAt(inode: Inode, now: Time): void {
    inode.changedHere({ ...inode.attr, ctime: now });
    this.parts.answers.inodeForetold(inode.ino);
  }

  /** There is no such name in the folder, and it need not be asked. */
  isAbsent(dir: number, name: Name): boolean {
    const folder = this.#inodes.get(dir);
    return folder !== undefined && this.isCached(folder) && this.#names.misses(dir, name);
  }

  /** All names of a folder, as an answer that was just taken in told them. */
  listed(folder: Inode, names: readonly Name[]): void {
    if (folder.cachedIn === this.#epoch && this.#inodes.get(folder.ino) === folder) this.#names.set(folder.ino, names);
  }

  /** An own operation, whose answer has been taken in, has left this name there (or not). */
  named(dir: number, name: Name, isThere: boolean, ticket?: Ticket): void {
    if (isThere) this.#names.add(dir, name);
    else if (ticket?.isFreshEntry(dir, name) !== false) this.#names.delete(dir, name);
    // Its answer was overtaken by that to another change of the name, which may have made it again.
    else this.#names.drop(dir);
  }

  /** What may be told to the kernel. Data that is not stored will change times and blocks again: nothing to keep. */
  attributes(inode: Inode): Attributes {
    const isDirty = inode.file?.writer.isDirty === true;
    const attrMs = isDirty ? 0 : this.validMs(this.isCached(inode));
    if (attrMs > 0) inode.keptUntilMs = this.parts.clock.monotonicMs() + attrMs;
    return { attr: inode.view(), attrMs };
  }

  /** The same, with a reference for the kernel: adds the inode. */
  take(attr: Attr, cached: boolean, ticket: Ticket): Inode {
    const inode = this.add(attr);
    this.#update(inode, attr, cached && ticket.isFreshInode(attr.ino));
    this.hold(inode);
    return inode;
  }

  /** One more reference for the kernel. */
  hold(inode: Inode): void {
    inode.lookups += 1;
    this.#idle.delete(inode);
  }

  /** The inode of these attributes, in the table from now on; the caller gives it a reference, or retires it. */
  add(attr: Attr): Inode {
    const known = this.#inodes.get(attr.ino);
    if (known !== undefined) {
      this.#idle.delete(known);
      return known;
    }
    const inode = new Inode(attr, ++this.#serial);
    this.#inodes.set(attr.ino, inode);
    this.#forgotten.delete(attr.ino);
    return inode;
  }

  forget(ino: number, count: number): void {
    const inode = this.#inodes.get(ino);
    if (inode === undefined) return;
    inode.lookups = Math.max(0, inode.lookups - count);
    this.retire(inode);
  }

  /** Lets go of a file that is neither open nor dirty, and of the inode if nobody needs it. */
  retire(inode: Inode): void {
    if (inode.file?.isIdle === true) inode.file = undefined;
    if (inode.lookups > 0 || inode.told > 0 || inode.file !== undefined || inode.ino === this.root) return;
    if (this.#inodes.get(inode.ino) !== inode) return;
    if (inode.attr.nlink === 0 || !this.isCached(inode)) {
      this.#drop(inode);
      return;
    }
    inode.keptUntilMs = 0;
    inode.pagesVersion = 0;
    this.#idle.add(inode);
    if (this.#idle.size > this.idleMax) this.#dropOldest();
  }

  /** Several at once: to the first of a set leads a way past all that were deleted before it. */
  #dropOldest(): void {
    const kept = this.idleMax - (this.idleMax >> 4);
    for (const oldest of this.#idle) {
      if (this.#idle.size <= kept) return;
      this.#drop(oldest);
    }
  }

  #drop(inode: Inode): void {
    this.#names.drop(inode.ino);
    this.#idle.delete(inode);
    this.#inodes.delete(inode.ino);
    this.disclaim(inode.ino);
  }

  /** Tells the metadata daemon (soon) that nothing is cached of an inode that is not in the table. */
  disclaim(ino: number): void {
    if (this.#inodes.has(ino)) return;
    this.#forgotten.add(ino);
    if (this.#forgotten.size >= FORGET_BATCH) this.tellForgotten();
    else this.#cancelForget ??= this.parts.clock.after(FORGET_MS, () => this.tellForgotten());
  }

  /** An answer that is under way may have been given under the lease that this ends. */
  tellForgotten(): void {
    this.#cancelForget?.();
    this.#cancelForget = undefined;
    if (this.#forgotten.size === 0) return;
    const inos = [...this.#forgotten];
    this.#forgotten = new Set();
    for (const ino of inos) this.parts.answers.inodeChanged(ino);
    this.parts.meta.tell("forget", { inos });
  }

  /**
   * An own change has made this version (not absorbed yet), and the kernel knows what it did to its pages: they stay
   * right if they were, and if nobody else has changed the file in between.
   */
  keepPages(inode: Inode, attr: Attr, ticket: Ticket): void {
    const isNext = attr.version === inode.pagesVersion + 1;
    const wasRight = inode.pagesVersion === inode.attr.version && this.isAlone(inode, ticket);
    if (inode.pagesVersion !== 0 && (isNext || wasRight)) {
      inode.pagesVersion = Math.max(inode.pagesVersion, attr.version);
    }
  }

  /** Until this answer, nobody else can have changed what is known of the inode. */
  isAlone(inode: Inode, ticket: Ticket): boolean {
    return this.isCached(inode) && ticket.isFreshInode(inode.ino);
  }

  /** What is cached of the inode is void: it changed, or may have. */
  invalidate(ino: number): void {
    this.parts.answers.inodeChanged(ino);
    const inode = this.#inodes.get(ino);
    if (inode === undefined) return;
    inode.cachedIn = 0;
    inode.shownUntilMs = 0;
    inode.xattrs = undefined;
    inode.exclusive = undefined;
    this.#names.drop(ino);
    if (this.#idle.has(inode)) this.#drop(inode);
  }

  invalidateAll(): void {
    this.#epoch += 1;
    for (const inode of this.#idle) this.#drop(inode);
    this.#names.clear();
    for (const inode of this.#inodes.values()) {
      inode.exclusive = undefined;
      inode.shownUntilMs = 0;
      inode.xattrs = undefined;
    }
  }

  /** After a fence: what was lost may have had later versions than what the daemon tells now, so anything replaces it. */
  distrustAll(): void {
    for (const inode of this.#inodes.values()) inode.attr = { ...inode.attr, version: 0 };
  }

  #update(inode: Inode, attr: Attr, cached: boolean): void {
    if (attr.version < inode.attr.version) return;
    const isCached = inode.cachedIn === this.#epoch;
    if (attr.version > inode.attr.version || !isCached) {
      if (!(cached && isCached)) {
        inode.exclusive = undefined;
        inode.enclosed = undefined;
        inode.xattrs = undefined;
        this.#names.drop(inode.ino);
      }
      inode.attr = attr;
      inode.cachedIn = cached ? this.#epoch : 0;
    }
  }
}
