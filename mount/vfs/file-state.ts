import type { Counter } from "prom-client";
import type { Errno } from "../../proto/errno.js";
import type { Attr, CommitReply, SliceAt } from "../../proto/gen/bigfs/v1/meta.js";
import type { Ticket } from "./answers.js";
import { type Core, mustAttr } from "./core.js";
import type { Inode } from "./inode.js";
import { type ToldAttributes, tellAttributes } from "./told-attributes.js";
import { SlotMap } from "./reader/slot-map.js";
import { Mutex, within } from "./waiting.js";
import type { Budget } from "./writer/budget.js";
import { FileWriter, type FileWriterHost } from "./writer/file-writer.js";
import type { Uploader } from "./writer/uploader.js";

/** Of the kernel. */
const PAGE = 4096;

export interface FileStateParts {
  readonly core: Core;
  readonly budget: Budget;
  readonly uploader: Uploader;
  readonly lostWrites: Counter;
}

/** Where bytes were written, and where the kernel has meant them to be. */
export interface Written {
  readonly pos: number;
  readonly off: number;
  readonly len: number;
}

/** A regular file that is open here, or has data that is not stored. */
export class FileState implements FileWriterHost {
  readonly writer: FileWriter;
  readonly slots: SlotMap;
  /** Writes wait while it is held: the size or the extents are being changed by something else than a write. */
  readonly gate = new Mutex();
  /** Attributes that were set and go with the next commit. */
  told: ToldAttributes | undefined;
  /** Open handles, and those among them that can write. */
  handles = 0;
  writers = 0;
  /** Others have had it open while somebody could write. */
  #wasShared = false;
  #isShared = false;
  /** From there on the kernel has filled a page up, behind the end of the file as it was. */
  #filledFrom = Infinity;
  #unfilling: Promise<void> | undefined;
  /** The kernel may hold pages of it. */
  hasPages = false;
  /** One past the last byte that a program here wrote past the kernel's pages; 0: none, or not known to be there still. */
  #writtenPast = 0;
  /** Raised when the data may have been changed by others. */
  generation = 0;
  /** What is read must be of this version or newer: it holds what was committed or cut here. */
  minVersion = 0;

  constructor(
    private readonly parts: FileStateParts,
    readonly inode: Inode,
  ) {
    this.slots = new SlotMap(parts.core.parts.meta.volume.chunkSize);
    this.writer = new FileWriter(parts, this);
  }

  /** Neither open nor dirty nor being changed. */
  get isIdle(): boolean {
    return this.handles === 0 && !this.writer.isDirty && !this.gate.isBusy;
  }

  /** Other sessions have it open, and somebody can write: a write is committed before it is answered. */
  get isShared(): boolean {
    return this.#isShared;
  }

  set isShared(isShared: boolean) {
    this.#isShared = isShared;
    this.#wasShared ||= isShared;
  }

  /**
   * The file ended there, which the kernel is about to keep in its pages. While others write, it shall not: this mount may
   * not hear of it when they make the file longer.
   */
  endedAt(end: number): void {
    this.#filledFrom = Math.min(this.#filledFrom, end);
    if (this.#isShared) this.#unfill();
  }

  /**
   * To be waited for before the kernel hears of the file's size. When others have made it longer, the kernel would show
   * the zeros with which it has filled up the page at the old end; so it gives up that page first. (It then does not keep
   * what it hears: recalls come before, as long as they can.) When it became longer by what was written here past the
   * kernel's pages, the kernel learns the end from the answer to that, and cuts its pages at an end that it hears before:
   * there would be zeros again. So it shall show what it hears and not keep it.
   */
  unfilled(): Promise<void> | undefined {
    if (this.#wasShared && this.storedSize() > this.#filledFrom) this.#unfill();
    if (this.#unfilling === undefined && this.#writtenPast > 0 && this.size <= this.#writtenPast)
      return this.#within(this.parts.core.kernel.dropAttributes(this.ino));
    return this.#unfilling;
  }

  /**
   * Bytes were written past the kernel's pages. The promise is for the answer: what the kernel holds of them, or has
   * filled up where they are now, it has given up. (Newer kernels do that themselves.) Where they are not at the offset
   * that it has chosen, it learns a wrong end from the answer; so it gives up all pages, and keeps the end that it hears.
   */
  wrotePast({ pos, off, len }: Written): Promise<void> | undefined {
    const { core } = this.parts;
    if (pos !== off) {
      this.unfills(core.kernel.dropData(this.ino, 0, 0));
      return this.#unfilling;
    }
    this.#writtenPast = Math.max(this.#writtenPast, pos + len);
    return this.hasPages ? this.#within(core.kernel.dropData(this.ino, pos, len)) : undefined;
  }

  /** The kernel has taken in everything that was written past its pages, or the file may end before that. */
  forgetWrittenPast(): void {
    this.#writtenPast = 0;
  }

  #unfill(): void {
    const from = this.#filledFrom;
    this.unfills(this.parts.core.kernel.dropData(this.ino, from - (from % PAGE), 0));
  }

  /** The kernel is giving up its pages. */
  unfills(dropping: Promise<void>): void {
    this.#filledFrom = Infinity;
    const unfilling = Promise.all([this.#unfilling, this.#within(dropping)]).then(() => {
      if (this.#unfilling === unfilling) this.#unfilling = undefined;
    });
    this.#unfilling = unfilling;
  }

  /** All who drop something may be waiting for locks that the one has who is answered after this. */
  #within(dropping: Promise<void>): Promise<void> {
    const { core } = this.parts;
    const { clock, log } = core.parts;
    return within(clock, core.opts.deadlines.leaseMs / 3, dropping).catch((error: unknown) => {
      log.debug({ err: error }, "the kernel did not give up its pages");
    });
  }

  get ino(): number {
    return this.inode.ino;
  }

  get replicas(): number {
    return this.inode.attr.replicas ?? 0;
  }

  storedSize(): number {
    return this.inode.attr.size;
  }

  /** Size with what was written here. */
  get size(): number {
    const { size, truncSeq } = this.inode.attr;
    return Math.max(size, this.writer.endSince(truncSeq));
  }

  /** What was told and waits for a commit goes now: others are about to see it, or there will be no commit. */
  tellAttributes(): void {
    const { told } = this;
    this.told = undefined;
    if (told !== undefined) tellAttributes(this.parts.core, this.inode, told);
  }

  committed(reply: CommitReply, slices: readonly SliceAt[], seq: number, ticket: Ticket): void {
    const attr = mustAttr(reply.attr);
    const { inodes } = this.parts.core;
    // It went along: none is added while a commit is under way.
    this.told = undefined;
    if (attr.truncSeq === seq && this.#isKnown(ticket)) this.slots.apply(attr, slices, reply.chunks);
    else this.slots.clear();
    inodes.keepPages(this.inode, attr, ticket);
    this.minVersion = Math.max(this.minVersion, attr.version);
    inodes.absorb(attr, reply.cached, ticket);
  }

  /** Bytes became part of the file, behind all that it had. */
  appended(reply: CommitReply, ticket: Ticket): void {
    const attr = mustAttr(reply.attr);
    const { inodes } = this.parts.core;
    inodes.keepPages(this.inode, attr, ticket);
    this.reshaped(attr);
    inodes.absorb(attr, reply.cached, ticket);
  }

  /** An own operation changed attributes, and nothing of the data. */
  touched(attr: Attr, ticket: Ticket): void {
    if (this.#isKnown(ticket)) this.slots.version = Math.max(this.slots.version, attr.version);
  }

  /** An own operation changed size or extents. */
  reshaped(attr: Attr): void {
    this.slots.clear();
    this.generation += 1;
    this.minVersion = Math.max(this.minVersion, attr.version);
  }

  /** Somebody else changed the data. */
  changed(): void {
    this.forgetWrittenPast();
    this.slots.clear();
    this.generation += 1;
    this.inode.pagesVersion = 0;
  }

  /** The session was given up: what was not durable is lost, and the file may have gone back to an earlier version. */
  fenced(): void {
    this.told = undefined;
    // The new session is told.
    this.isShared = false;
    this.writer.fail("EIO");
    this.minVersion = 0;
  }

  failed(errno: Errno): void {
    const { core } = this.parts;
    this.inode.errors.add(errno);
    this.parts.lostWrites.inc();
    this.changed();
    core.notify(core.kernel.dropData(this.ino, 0, 0));
  }

  dirtied(isDirty: boolean): void {
    if (isDirty) {
      this.parts.core.dirty.add(this);
      return;
    }
    this.parts.core.dirty.delete(this);
    this.tellAttributes();
    this.parts.core.inodes.retire(this.inode);
  }

  /** Until this answer, the slots were those of the newest version. */
  #isKnown(ticket: Ticket): boolean {
    return this.slots.version >= this.inode.attr.version && this.parts.core.inodes.isAlone(this.inode, ticket);
  }
}
