import type { DirEntry, ReadDirReply } from "../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../proto/limits.js";
import type { Cancel } from "../../daemon/common/clock.js";
import { nameOf, type Name } from "../../proto/name.js";
import type { Ticket } from "./answers.js";
import { S_IFDIR } from "./modes.js";
import { type Core, SELF } from "./core.js";
import type { Found, Listed } from "./filesystem.js";
import { foundOf } from "./found.js";
import type { Exclusivity } from "./inode.js";
import { NAMES_MAX } from "./known-names.js";
import { Handles } from "./handles.js";
import { HAS_TO_HEAR, type Hearer } from "./write-errors.js";

/** Cookies of "." and ".."; real entries follow. */
const DOT = 1;
const DOT_DOT = 2;

const DOT_NAME = nameOf(Buffer.from("."));
const DOT_DOT_NAME = nameOf(Buffer.from(".."));

/** Entries of the first page; later ones are as long as a page may be. */
const FIRST_PAGE = 128;

/** A folder that was just read and closed may be opened again within this: rm looks whether it is empty, then reads it. */
const AGAIN_MS = 1_000;

/** Entries after cookie `after`. The ticket knows what changed since. */
interface Page {
  readonly after: number;
  readonly withAttributes: boolean;
  /** The folder's attributes were cached when it was asked for: changes of others are told. */
  readonly isWatched: boolean;
  /** Undefined: this session had not the folder exclusively. */
  readonly exclusive: Exclusivity | undefined;
  readonly reply: ReadDirReply;
  readonly ticket: Ticket;
}

interface DirHandle extends Hearer {
  readonly handle: number;
  readonly ino: number;
  page: Page | undefined;
  /** The page after `page`, on its way. */
  next: Promise<Page> | undefined;
  survey: Survey | undefined;
}

/** All names of a folder, gathered while it is read from the start to the end in one go. */
interface Survey {
  readonly names: Name[];
  /** Cookie of the last one. */
  upTo: number;
  /** Knows whether the folder has changed meanwhile. */
  readonly ticket: Ticket;
}

/** A whole folder, read and closed. */
interface Closed {
  readonly ino: number;
  readonly page: Page;
  readonly cancel: Cancel;
}

/** Listings, in the order of cookies: whoever goes on from a cookie sees every entry that was there all the time once. */
export class Directories {
  readonly #handles = new Handles<DirHandle>();
  #closed: Closed | undefined;

  constructor(private readonly core: Core) {}

  open(ino: number): { handle: number } {
    return this.#add(ino, this.core.lostChanges.sample());
  }

  /** Opens what another process had open that died (see Heir); the handle. */
  reopen(ino: number): number {
    return this.#add(ino, HAS_TO_HEAR).handle;
  }

  /** Resolves when every change that was answered is on disk. */
  async sync(handle: number): Promise<void> {
    const dir = this.#handles.get(handle);
    await this.core.early.durable();
    this.core.lostChanges.tell(dir);
  }

  inoOf(handle: number): number {
    return this.#handles.get(handle).ino;
  }

  release(handle: number): void {
    const dir = this.#handles.get(handle);
    this.#handles.remove(handle);
    this.#keep(dir);
    this.#drop(dir);
    this.#endSurvey(dir);
  }

  async read(handle: number, cookie: number, withAttributes: boolean, take: (entry: Listed) => boolean): Promise<void> {
    const dir = this.#handles.get(handle);
    if (cookie === 0) {
      this.#drop(dir);
      this.#startSurvey(dir);
    }
    let at = cookie;
    for (;;) {
      const page = await this.#page(dir, Math.max(at, DOT_DOT), withAttributes);
      if (at < DOT && !take(dot(DOT_NAME, dir.ino, DOT))) return;
      if (at < DOT_DOT && !take(dot(DOT_DOT_NAME, page.reply.parent, DOT_DOT))) return;
      for (const entry of entriesAfter(page, at)) {
        const name = nameOf(entry.name);
        if (!this.#give({ dir, page, entry, name }, withAttributes, take)) return;
        this.#survey(dir, at, { cookie: entry.cookie, name });
        at = entry.cookie;
      }
      if (page.reply.end) this.#surveyed(dir, at);
      if (page.reply.end || page.reply.entries.length === 0) return;
      at = Math.max(at, DOT_DOT);
    }
  }

  #add(ino: number, heard: number): DirHandle {
    return this.#handles.add((handle) => ({ handle, ino, heard, page: undefined, next: undefined, survey: undefined }));
  }

  /** False: the reader has enough. */
  #give(
    { dir, page, entry, name }: { dir: DirHandle; page: Page; entry: DirEntry; name: Name },
    withAttributes: boolean,
    take: (entry: Listed) => boolean,
  ): boolean {
    const { core } = this;
    const found = withAttributes ? this.#found(dir, page, entry, name) : undefined;
    if (!take({ name, ino: entry.ino, type: entry.type, cookie: entry.cookie, found })) return false;
    if (found === undefined || entry.attr === undefined) return true;
    const inode = core.inodes.take(entry.attr, page.reply.cached, page.ticket);
    const { exclusive } = page;
    if (entry.exclusive && exclusive !== undefined && exclusive === core.inodes.exclusiveOf(dir.ino)) {
      core.inodes.enclose(inode, exclusive);
    }
    core.entries.put({ dir: dir.ino, name }, entry.ino, page.reply.entryCached, page.ticket);
    return true;
  }

  /** Only a folder whose attributes are cached all the time is known not to change. */
  #startSurvey(dir: DirHandle): void {
    this.#endSurvey(dir);
    if (!this.#isWatched(dir.ino)) return;
    dir.survey = { names: [], upTo: DOT_DOT, ticket: this.core.answers.begin() };
  }

  /** The reader has the entry that follows cookie `after`. */
  #survey(dir: DirHandle, after: number, { cookie, name }: { cookie: number; name: Name }): void {
    const { survey } = dir;
    if (survey === undefined) return;
    if (Math.max(after, DOT_DOT) !== survey.upTo || survey.names.length >= NAMES_MAX) {
      this.#endSurvey(dir);
      return;
    }
    survey.names.push(name);
    survey.upTo = cookie;
  }

  /** Nothing follows cookie `after`. */
  #surveyed(dir: DirHandle, after: number): void {
    const { survey } = dir;
    if (survey === undefined) return;
    const { inodes } = this.core;
    const folder = inodes.get(dir.ino);
    const isWhole = survey.upTo === Math.max(after, DOT_DOT) && survey.ticket.isFreshInode(dir.ino);
    if (folder !== undefined && isWhole) inodes.listed(folder, survey.names);
    this.#endSurvey(dir);
  }

  #endSurvey(dir: DirHandle): void {
    if (dir.survey !== undefined) this.core.answers.end(dir.survey.ticket);
    dir.survey = undefined;
  }

  /** undefined when the entry or its attributes may have changed since the page was fetched: to be looked up. */
  #found(dir: DirHandle, page: Page, entry: DirEntry, name: Name): Found | undefined {
    const { core } = this;
    const { ticket, reply } = page;
    if (entry.attr === undefined || !ticket.isFreshInode(entry.ino) || !ticket.isFreshEntry(dir.ino, name)) {
      return undefined;
    }
    const known = core.inodes.get(entry.ino);
    if (known === undefined) {
      return {
        attr: entry.attr,
        attrMs: core.inodes.validMs(reply.cached),
        entryMs: core.inodes.validMs(reply.entryCached),
      };
    }
    core.inodes.absorb(entry.attr, reply.cached, ticket);
    // The kernel asks for it by itself.
    if (known.file?.unfilled() !== undefined) return undefined;
    return foundOf(core, known, reply.entryCached);
  }

  /** The page that has the entry after the cookie. */
  async #page(dir: DirHandle, after: number, withAttributes: boolean): Promise<Page> {
    const { page } = dir;
    if (page !== undefined && holds(page, after)) return page;
    const follows = page !== undefined && after === lastCookie(page);
    const next = follows && dir.next !== undefined ? dir.next : this.#fetchUnlessKept(dir.ino, after, withAttributes);
    dir.next = undefined;
    if (!follows) this.#drop(dir);
    const fresh = await next;
    this.#end(dir.page);
    dir.page = fresh;
    if (!fresh.reply.end && fresh.reply.entries.length > 0) this.#fetchAhead(dir, lastCookie(fresh), withAttributes);
    return fresh;
  }

  #fetchAhead(dir: DirHandle, after: number, withAttributes: boolean): void {
    dir.next = this.#fetch(dir.ino, after, withAttributes);
    // Whoever needs the page gets the error.
    dir.next.catch(() => {});
  }

  /** What was read a moment ago, if the folder is still like that, or else anew. */
  #fetchUnlessKept(ino: number, after: number, withAttributes: boolean): Promise<Page> {
    if (after > DOT_DOT || this.#closed?.ino !== ino) return this.#fetch(ino, after, withAttributes);
    const { page, cancel } = this.#closed;
    this.#closed = undefined;
    cancel();
    const isSame = this.#isWatched(ino) && page.ticket.isFreshInode(ino);
    if (isSame && (page.withAttributes || !withAttributes)) return Promise.resolve(page);
    this.#end(page);
    return this.#fetch(ino, after, withAttributes);
  }

  #keep(dir: DirHandle): void {
    const { page } = dir;
    if (page === undefined || page.after > DOT_DOT || !page.reply.end || !page.isWatched) return;
    dir.page = undefined;
    this.#forget();
    const cancel = this.core.parts.clock.after(AGAIN_MS, () => this.#forget());
    this.#closed = { ino: dir.ino, page, cancel };
  }

  #forget(): void {
    this.#closed?.cancel();
    this.#end(this.#closed?.page);
    this.#closed = undefined;
  }

  #isWatched(ino: number): boolean {
    const folder = this.core.inodes.get(ino);
    return folder !== undefined && this.core.inodes.isCached(folder);
  }

  async #fetch(ino: number, after: number, withAttributes: boolean): Promise<Page> {
    const { early, inodes, parts } = this.core;
    const limit = after <= DOT_DOT ? FIRST_PAGE : LIMITS.entriesPerPage;
    const args = { dir: ino, after, limit, withAttrs: withAttributes };
    await early.settledFor("readdir", args);
    const ticket = this.core.begin();
    try {
      const isWatched = this.#isWatched(ino);
      const reply = await parts.meta.call("readdir", args, SELF);
      const folder = inodes.get(ino);
      if (folder !== undefined) inodes.learnExclusive(folder, ino, reply.exclusive, ticket);
      const exclusive = reply.exclusive && ticket.isFreshInode(ino) ? inodes.exclusiveOf(ino) : undefined;
      return { after, withAttributes, isWatched, exclusive, reply, ticket };
    } catch (error) {
      this.core.answers.end(ticket);
      throw error;
    }
  }

  /** Forgets what was fetched. */
  #drop(dir: DirHandle): void {
    this.#end(dir.page);
    dir.page = undefined;
    dir.next?.then((page) => this.#end(page)).catch(() => {});
    dir.next = undefined;
  }

  /** Entries whose attributes were fetched and that nobody took are not cached here. */
  #end(page: Page | undefined): void {
    if (page === undefined) return;
    this.core.answers.end(page.ticket);
    if (!page.reply.cached) return;
    for (const entry of page.reply.entries) if (entry.attr !== undefined) this.core.inodes.disclaim(entry.ino);
  }
}

function dot(name: Name, ino: number, cookie: number): Listed {
  return { name, ino, type: S_IFDIR, cookie, found: undefined };
}

function lastCookie(page: Page): number {
  return page.reply.entries.at(-1)?.cookie ?? page.after;
}

/** The entry after the cookie, or the end, is on the page. */
function holds(page: Page, after: number): boolean {
  return after >= page.after && (after < lastCookie(page) || page.reply.end);
}

function entriesAfter(page: Page, cookie: number): readonly DirEntry[] {
  const { entries } = page.reply;
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((entries[middle]?.cookie ?? 0) <= cookie) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? entries : entries.slice(low);
}
