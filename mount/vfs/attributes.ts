import { errnoOf, fail } from "../../proto/errno.js";
import type { AttrReply, SetAttr } from "../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../proto/limits.js";
import type { Ticket } from "./answers.js";
import { type Core, SELF, mustAttr } from "./core.js";
import type { FileState } from "./file-state.js";
import type { Attributes, Caller, Change, Maybe } from "./filesystem.js";
import type { Inode } from "./inode.js";
import { isRegular } from "./modes.js";
import { isForetold, shownWith, tellAttributes, withChange } from "./told-attributes.js";

/** Attributes of inodes, and truncation. */
export class InodeAttributes {
  constructor(private readonly core: Core) {}

  get(ino: number): Maybe<Attributes> {
    const { inodes } = this.core;
    const inode = inodes.get(ino);
    if (inode !== undefined && inodes.isShown(inode)) return inodes.attributes(inode);
    return this.refresh(ino).catch((error: unknown) => this.#afterRemoval(ino, error));
  }

  /**
   * A folder, a pipe or the like that somebody holds (as working directory, say) is no more when its name is gone, and
   * still has attributes. Removed by others, it is ESTALE, for which the kernel looks up the name again; so is a file
   * that was lost while it was open.
   */
  #afterRemoval(ino: number, error: unknown): Attributes {
    return { attr: { ...this.#removed(ino, error).attr, nlink: 0 }, attrMs: 0 };
  }

  /** It has what is set for as long as somebody holds it. */
  #changeRemoved(ino: number, change: Change, error: unknown): Attributes {
    const inode = this.#removed(ino, error);
    const told = withChange(undefined, change, this.core.nowAfter(inode.attr.ctime), 0);
    inode.attr = shownWith(inode.attr, told);
    return { attr: { ...inode.attr, nlink: 0 }, attrMs: 0 };
  }

  #removed(ino: number, error: unknown): Inode {
    const inode = this.core.inodes.get(ino);
    if (errnoOf(error) !== "ESTALE" || inode?.lostName !== true || inode.file !== undefined) throw error;
    return inode;
  }

  /** Asks, whatever is cached. */
  refresh(ino: number): Promise<Attributes> {
    const { core } = this;
    return core.ask("getattr", { ino }, SELF, (reply, ticket) => {
      const attr = mustAttr(reply.attr);
      if (ino === core.inodes.root) core.inodes.add(attr);
      if (reply.shownMs > 0) core.inodes.show(attr, reply.shownMs, ticket);
      return core.inodes.absorb(attr, reply.cached, ticket);
    });
  }

  set(who: Caller, ino: number, change: Change): Maybe<Attributes> {
    const { inodes } = this.core;
    this.core.mustBeWritable();
    if (change.size !== undefined && change.size > LIMITS.fileSizeMax) fail("EFBIG");
    const inode = inodes.get(ino);
    if (inode !== undefined && this.#setHere(inode, change)) return inodes.attributes(inode);
    const file = inode?.file;
    if (file === undefined) {
      return this.#change(who, ino, change).catch((error: unknown) => this.#changeRemoved(ino, change, error));
    }
    if (change.size !== undefined) return this.#resize(who, file, change, change.size);
    if (!file.writer.isDirty) return this.#change(who, ino, change);
    return file.writer.exclusive(() => this.#change(who, ino, change));
  }

  access(who: Caller, ino: number, mask: number): Promise<void> {
    return this.core.ask("access", { ino, mask }, this.core.credOf(who), () => undefined);
  }

  /** Nobody else can see it before the metadata daemon knows: it need not be asked now. False: it must be. */
  #setHere(inode: Inode, change: Change): boolean {
    const { core } = this;
    const { file } = inode;
    const folder = isRegular(inode.attr) ? core.inodes.enclosing(inode) : undefined;
    if (folder === undefined || !isForetold(inode.view(), change)) return false;
    const isLater = file?.writer.isDirty === true;
    // Of what goes with a commit, whatever else is asked must be done before or after it.
    if (!this.#isAtRest(inode) || (isLater && (file.writer.isStoring || core.busy.has(folder.ino)))) return false;
    const told = withChange(file?.told, change, core.nowAfter(inode.view().ctime), folder.ino);
    if (!isLater) {
      tellAttributes(core, inode, told);
      return true;
    }
    file.told = told;
    if (change.mtime !== undefined) file.writer.forgetMtime();
    return true;
  }

  /** Nothing else is asked or told of it, whose answer would not show what is told now. */
  #isAtRest({ ino }: Inode): boolean {
    const { early, busy, isForeseeable } = this.core;
    return isForeseeable && !early.isAboutInode(ino) && !busy.has(ino);
  }

  #change(who: Caller, ino: number, change: Change): Promise<Attributes> {
    const { core } = this;
    return core.ask("setattr", requestOf(ino, change), core.credOf(who), (reply, ticket) => {
      const inode = core.inodes.get(ino);
      if (inode !== undefined && change.size === 0 && inode.attr.size > 0) inode.wasEmptied = true;
      if (change.mtime !== undefined) inode?.file?.writer.forgetMtime();
      if (change.size === undefined) inode?.file?.touched(mustAttr(reply.attr), ticket);
      else inode?.file?.reshaped(mustAttr(reply.attr));
      return this.#absorb(reply, ticket);
    });
  }

  /**
   * Changes the size of a file that is open here. Bytes beyond the new size that were not committed are cut here, after
   * the metadata daemon has agreed; those that are on their way it cuts itself, by their trunc_seq. So commits go on: who
   * opens the file meanwhile waits for them, whatever comes of this. Where the new size lies behind the stored end,
   * everything is committed first: the stored file must not grow over bytes that are still here.
   */
  #resize(who: Caller, file: FileState, change: Change, size: number): Promise<Attributes> {
    const { core } = this;
    return file.gate.run(async () => {
      if (size > file.storedSize()) await this.#store(file);
      const by = { ino: file.ino, who: core.credOf(who) };
      return core.change("setattr", requestOf(file.ino, change), by, (reply, ticket) => {
        const attr = mustAttr(reply.attr);
        cutTo(file, size, attr.truncSeq);
        file.reshaped(attr);
        return this.#absorb(reply, ticket);
      });
    });
  }

  /**
   * EIO when that fails, or has failed and nobody knows yet: the file must not grow over what was lost. Who wrote it is
   * told by its own handle too.
   */
  async #store({ writer, inode: { errors } }: FileState): Promise<void> {
    const before = errors.count;
    if (writer.isDirty) await writer.flush();
    if (errors.count !== before || errors.isUnheard) fail("EIO", "what was written before could not be stored");
  }

  #absorb(reply: AttrReply, ticket: Ticket): Attributes {
    const { core } = this;
    const attr = mustAttr(reply.attr);
    const inode = core.inodes.get(attr.ino);
    if (inode !== undefined) core.inodes.keepPages(inode, attr, ticket);
    const answer = core.inodes.absorb(attr, reply.cached, ticket);
    // Listings that were fetched before show the old ones.
    core.answers.inodeChanged(attr.ino);
    return answer;
  }
}

/** The metadata daemon has made the file `size` long: the same for what is not committed. */
export function cutTo(file: FileState, size: number, truncSeq: number): void {
  if (size === 0 && file.size > 0) file.inode.wasEmptied = true;
  file.forgetWrittenPast();
  file.writer.cutAt(size, { before: file.inode.attr.truncSeq, after: truncSeq });
  file.writer.forgetMtime();
}

function requestOf(ino: number, change: Change): SetAttr {
  return {
    ino,
    mode: change.mode,
    uid: change.uid,
    gid: change.gid,
    size: change.size,
    atime: change.atime === "now" ? undefined : change.atime,
    mtime: change.mtime === "now" ? undefined : change.mtime,
    atimeNow: change.atime === "now",
    mtimeNow: change.mtime === "now",
  };
}
