import type { Attr, OpenFile, OpenReply } from "../../proto/gen/bigfs/v1/meta.js";
import { fail } from "../../proto/errno.js";
import { type Name, nameBytes } from "../../proto/name.js";
import type { Ticket } from "./answers.js";
import { cutTo } from "./attributes.js";
import { type Core, SELF, mustAttr } from "./core.js";
import { FileState, type FileStateParts } from "./file-state.js";
import type { Caller, Found, OpenFlags, Opened } from "./filesystem.js";
import { Handles } from "./handles.js";
import type { Inode } from "./inode.js";
import { foundOf } from "./found.js";
import type { Locks } from "./locks.js";
import { ReadPattern } from "./reader/read-ahead.js";
import { HAS_TO_HEAR, type Hearer } from "./write-errors.js";

const R_OK = 4;
const W_OK = 2;

/** An open file description. */
export interface FileHandle extends Hearer {
  readonly handle: number;
  readonly file: FileState;
  readonly flags: OpenFlags;
  readonly pattern: ReadPattern;
  /** The kernel keeps nothing of what is read through it. */
  readonly isDirect: boolean;
  /** Locks were asked for through it. */
  hasLocked: boolean;
  /** Who asked for fcntl locks through it, and has not closed it since. */
  readonly lockOwners: Set<string>;
  /** Its locks were lost: what it would do, it would do without them. */
  isDead: boolean;
}

/** Opens and closes files; knows what is open. The metadata daemon is told of every open and of every release. */
export class OpenFiles {
  readonly #handles = new Handles<FileHandle>();

  constructor(
    private readonly core: Core,
    private readonly parts: FileStateParts & { readonly locks: Locks },
  ) {}

  get count(): number {
    return this.#handles.size;
  }

  /** EBADF, and EIO when locks were lost that it held. */
  get(handle: number): FileHandle {
    const open = this.#handles.get(handle);
    return open.isDead ? fail("EIO", "locks of this file were lost") : open;
  }

  /** Locks of these files are lost. */
  lostLocks(inos: ReadonlySet<number>): void {
    for (const open of this.#handles.all()) if (open.hasLocked && inos.has(open.file.ino)) open.isDead = true;
  }

  async open(who: Caller, ino: number, flags: OpenFlags): Promise<Opened> {
    if (flags.write || flags.truncate) this.core.mustBeWritable();
    const file = this.core.inodes.get(ino)?.file;
    if (!flags.truncate || file === undefined) return this.#open(who, ino, flags);
    return file.gate.run(() => this.#open(who, ino, flags));
  }

  /** Opens what another process had open that died (see Heir); the handle. */
  async reopen(ino: number, { write, isDead }: { write: boolean; isDead: boolean }): Promise<number> {
    const flags = { read: true, write, append: false, truncate: false, sync: false };
    const { handle } = await this.#open({ ...SELF, pid: 0 }, ino, flags);
    const open = this.#handles.get(handle);
    if (write) open.heard = HAS_TO_HEAR;
    open.isDead = isDead;
    return handle;
  }

  async create(
    who: Caller,
    at: { dir: number; name: Name },
    made: { mode: number; umask: number },
    flags: OpenFlags & { exclusive: boolean },
  ): Promise<Found & Opened> {
    const { core } = this;
    core.mustBeWritable();
    const { exclusive, truncate } = flags;
    const request = {
      dir: at.dir,
      name: nameBytes(at.name),
      mode: made.mode,
      umask: made.umask,
      rdev: 0,
      target: Buffer.alloc(0),
      open: true,
      exclusive,
      truncate,
      access: accessOf(flags),
    };
    try {
      return await core.ask("make", request, core.credOf(who), (reply, ticket) => {
        const attr = mustAttr(reply.attr);
        if (!core.inodes.absorbChanged(reply.changed, ticket).has(at.dir)) core.inodes.invalidate(at.dir);
        core.inodes.named(at.dir, at.name, true);
        const inode = core.inodes.add(attr);
        const opened = this.#admit(inode, attr, { ...flags, shared: reply.shared === true }, ticket);
        core.inodes.take(attr, reply.cached, ticket);
        core.inodes.learnExclusive(inode, at.dir, reply.exclusive, ticket);
        const isKept = core.entries.putOwn(at, attr.ino, reply.entryCached, ticket);
        return { ...foundOf(core, inode, isKept), ...opened };
      });
    } catch (error) {
      // It may have been done although no answer came.
      core.entries.invalidate(at.dir, at.name);
      core.inodes.invalidate(at.dir);
      throw error;
    }
  }

  createUnnamed(
    who: Caller,
    dir: number,
    made: { mode: number; umask: number },
    flags: OpenFlags,
  ): Promise<Found & Opened> {
    const { core } = this;
    core.mustBeWritable();
    const request = {
      dir,
      name: Buffer.alloc(0),
      mode: made.mode,
      umask: made.umask,
      rdev: 0,
      target: Buffer.alloc(0),
      open: true,
      exclusive: true,
      truncate: false,
      access: accessOf(flags),
      unnamed: true,
    };
    return core.ask("make", request, core.credOf(who), (reply, ticket) => {
      const attr = mustAttr(reply.attr);
      const inode = core.inodes.add(attr);
      const opened = this.#admit(inode, attr, { ...flags, shared: false }, ticket);
      core.inodes.take(attr, reply.cached, ticket);
      return { ...foundOf(core, inode, false), ...opened };
    });
  }

  /** Those of the inodes (all without) that are open, with their numbers of handles. */
  declared(inos?: ReadonlySet<number>): OpenFile[] {
    const { inodes } = this.core;
    const asked = inos === undefined ? inodes.all() : [...inos].map((ino) => inodes.get(ino));
    const open: OpenFile[] = [];
    for (const inode of asked) {
      const { handles: count, writers } = inode?.file ?? { handles: 0, writers: 0 };
      if (inode !== undefined && count > 0) open.push({ ino: inode.ino, count, writers });
    }
    return open;
  }

  /** Writes to these files need not be committed any more before they are answered. */
  unshared(inos: readonly number[]): void {
    for (const ino of inos) {
      const file = this.core.inodes.get(ino)?.file;
      if (file !== undefined) file.isShared = false;
    }
  }

  /** `flockOwner`: flock's lock of that owner ends with it. */
  async release(handle: number, flockOwner?: string): Promise<void> {
    const open = this.#handles.get(handle);
    const { file } = open;
    try {
      if (flockOwner !== undefined) await this.parts.locks.release(open, flockOwner, true);
      // Locks of the open file itself (F_OFD_SETLK): no descriptor's close has told of their owner.
      for (const owner of open.lockOwners) await this.parts.locks.release(open, owner, false);
      // Written through a mapping after the last close, say.
      if (file.writer.isDirty && file.handles === 1) await file.writer.flush();
    } finally {
      this.#handles.remove(handle);
      const writers = open.flags.write ? 1 : 0;
      file.handles -= 1;
      file.writers -= writers;
      // The kernel closes when it has taken in all answers.
      if (file.writers === 0) file.forgetWrittenPast();
      if (file.handles === 0) this.parts.locks.closed(file.ino);
      this.core.parts.meta.tell("close", { ino: file.ino, count: 1, writers });
      this.core.inodes.retire(file.inode);
    }
  }

  #open(who: Caller, ino: number, flags: OpenFlags): Promise<Opened> {
    const { core } = this;
    const request = { ino, access: accessOf(flags), truncate: flags.truncate };
    const admit = (reply: OpenReply, ticket: Ticket): Opened => {
      const attr = mustAttr(reply.attr);
      const inode = core.inodes.add(attr);
      const opened = this.#admit(inode, attr, { ...flags, shared: reply.shared === true }, ticket);
      core.inodes.absorb(attr, reply.cached, ticket);
      this.#takeSlots(inode, reply, ticket);
      return opened;
    };
    const cred = core.credOf(who);
    return flags.truncate
      ? core.change("open", request, { ino, who: cred }, admit)
      : core.ask("open", request, cred, admit);
  }

  #admit(inode: Inode, attr: Attr, flags: OpenFlags & { shared: boolean }, ticket: Ticket): Opened {
    const file = (inode.file ??= new FileState(this.parts, inode));
    file.isShared = flags.shared;
    if (flags.truncate) {
      cutTo(file, 0, attr.truncSeq);
      this.core.inodes.keepPages(inode, attr, ticket);
      file.reshaped(attr);
    }
    const keepCache = inode.pagesVersion !== 0 && inode.pagesVersion === attr.version;
    if (!keepCache && inode.pagesVersion !== 0) file.changed();
    file.hasPages ||= keepCache;
    inode.pagesVersion = attr.version;
    file.handles += 1;
    file.writers += flags.write ? 1 : 0;
    const pattern = new ReadPattern(this.core.parts.meta.volume.chunkSize);
    const heard = inode.errors.sample();
    // Through its pages the kernel cuts what is written where they end, and others could append in between.
    const isDirect = flags.shared || (flags.append && flags.write);
    const { handle } = this.#handles.add((id) => ({
      handle: id,
      file,
      flags,
      pattern,
      isDirect,
      heard,
      hasLocked: false,
      lockOwners: new Set(),
      isDead: false,
    }));
    return { handle, keepCache, direct: isDirect };
  }

  #takeSlots(inode: Inode, reply: OpenReply, ticket: Ticket): void {
    const { slots } = reply;
    const { file } = inode;
    if (slots?.attr === undefined || file === undefined || !ticket.isFreshInode(inode.ino)) return;
    if (slots.cached && slots.attr.version >= file.minVersion) file.slots.put(slots);
  }
}

function accessOf(flags: OpenFlags): number {
  return (flags.read ? R_OK : 0) | (flags.write ? W_OK : 0);
}
