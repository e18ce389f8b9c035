import { fail } from "../../proto/errno.js";
import { LIMITS } from "../../proto/limits.js";
import type { InodeAttributes } from "./attributes.js";
import { type Core, SELF } from "./core.js";
import type { FileState, Written } from "./file-state.js";
import type { Maybe, WriteFlags } from "./filesystem.js";
import type { Locks } from "./locks.js";
import type { FileHandle, OpenFiles } from "./open-files.js";
import type { Reader } from "./reader/reader.js";
import type { Budget } from "./writer/budget.js";

export interface FileDataParts {
  readonly core: Core;
  readonly files: OpenFiles;
  readonly locks: Locks;
  readonly attributes: InodeAttributes;
  readonly reader: Reader;
  readonly budget: Budget;
}

/**
 * Bytes of open files. An upload that fails later is told by the next write, fsync or close of each handle (see
 * FileWriter for what happens to the data).
 */
export class FileData {
  constructor(private readonly parts: FileDataParts) {}

  read(handle: number, off: number, size: number): Maybe<Buffer> {
    const open = this.parts.files.get(handle);
    if (!open.flags.read) fail("EBADF");
    const data = this.parts.reader.read(open.file, open.pattern, off, size);
    return data instanceof Promise ? data.then((bytes) => kept(open, off, size, bytes)) : kept(open, off, size, data);
  }

  write(handle: number, off: number, data: Buffer, how?: WriteFlags): Maybe<number> {
    const { core, files, budget } = this.parts;
    const open = files.get(handle);
    const { append, sync } = how ?? open.flags;
    if (!open.flags.write) fail("EBADF");
    const { inode, gate, isShared } = open.file;
    inode.errors.tell(open);
    if (data.length === 0) return 0;
    if (isShared || gate.isBusy || !core.inodes.isCached(inode))
      return this.#writeLater(open, off, Buffer.from(data), { append, sync });
    const dropped = this.#put(open, off, data, append);
    const room = budget.room();
    if (room === undefined && dropped === undefined && !sync) return data.length;
    return this.#settle(open, data.length, sync, [room, dropped]);
  }

  flush(handle: number, lockOwner?: string): Maybe<void> {
    const open = this.parts.files.get(handle);
    if (!this.parts.locks.has(open.file.ino)) return this.#stored(open);
    return this.#unlocked(open, lockOwner);
  }

  /** Also when the data could not be stored. */
  async #unlocked(open: FileHandle, lockOwner: string | undefined): Promise<void> {
    try {
      await this.#stored(open);
    } finally {
      if (lockOwner !== undefined) await this.parts.locks.release(open, lockOwner, false);
    }
  }

  #stored(open: FileHandle): Maybe<void> {
    const { file, flags } = open;
    if (!flags.write) return;
    if (file.writer.isDirty || file.inode.wasEmptied) return this.#close(open);
    file.inode.errors.tell(open);
  }

  async fsync(handle: number): Promise<void> {
    const open = this.parts.files.get(handle);
    await this.#sync(open);
  }

  async #close(open: FileHandle): Promise<void> {
    const { file } = open;
    const { inode } = file;
    await file.writer.flush();
    inode.errors.tell(open);
    // Of an empty file, another descriptor of the same open may be about to write.
    if (!inode.wasEmptied || file.storedSize() === 0) return;
    const { truncSeq } = inode.attr;
    await this.#makeDurable(file);
    inode.errors.tell(open);
    if (inode.attr.truncSeq === truncSeq) inode.wasEmptied = false;
  }

  /**
   * When somebody changes the file otherwise, or when it has to be asked what the file is like: bytes that are marked
   * with an old trunc_seq would be cut by a truncation that came before them, and an append would go to an old end. When
   * others have it open, the write is answered when they can see it, and an append goes where the file ends then.
   */
  async #writeLater(open: FileHandle, off: number, data: Buffer, { append, sync }: WriteFlags): Promise<number> {
    const { core, attributes, budget } = this.parts;
    const { file } = open;
    const { inode, gate } = file;
    do {
      await gate.idle();
      if (!(file.isShared && append) && !core.inodes.isCached(inode)) await attributes.refresh(inode.ino);
    } while (gate.isBusy);
    // What is not cached may have changed since it was asked for: somebody else may have written and closed the file.
    if (append && (file.isShared || !core.inodes.isCached(inode))) return this.#append(open, off, data, sync);
    // What was written before may have been lost meanwhile: behind it this would leave a hole.
    inode.errors.tell(open);
    const dropped = this.#put(open, off, data, append);
    if (file.isShared) await file.writer.flush();
    return this.#settle(open, data.length, sync, [budget.room(), dropped]);
  }

  /** Nothing is written before it is known where the bytes are: they would be put at the old end. */
  async #append(open: FileHandle, off: number, data: Buffer, sync: boolean): Promise<number> {
    const { file } = open;
    let dropped: Promise<void> | undefined;
    await file.gate.run(async () => {
      await file.writer.flush();
      file.inode.errors.tell(open);
      const pos = await file.writer.append(data);
      dropped = this.#dropped(open, { pos, off, len: data.length });
    });
    return this.#settle(open, data.length, sync, [dropped]);
  }

  /** An append goes to the end as this mount knows it, and nobody else writes. */
  #put(open: FileHandle, off: number, data: Buffer, append: boolean): Promise<void> | undefined {
    const { file } = open;
    const pos = append ? file.size : off;
    if (pos + data.length > LIMITS.fileSizeMax) fail("EFBIG");
    file.writer.write(pos, data, file.inode.attr.truncSeq, { append });
    return this.#dropped(open, { pos, off, len: data.length });
  }

  /** The kernel has chosen an offset too; when that of an append was wrong, it has put the bytes there in its own pages. */
  #dropped({ file, isDirect }: FileHandle, written: Written): Promise<void> | undefined {
    const { core } = this.parts;
    if (isDirect) return file.wrotePast(written);
    if (written.pos !== written.off) core.notify(core.kernel.dropData(file.ino, 0, 0));
    return undefined;
  }

  /** The write is answered when there is room for more, say, and with O_SYNC when it is durable. */
  async #settle(
    open: FileHandle,
    length: number,
    sync: boolean,
    waits: readonly (Promise<void> | undefined)[],
  ): Promise<number> {
    for (const wait of waits) await wait;
    if (sync) await this.#sync(open);
    else open.file.inode.errors.tell(open);
    return length;
  }

  async #sync(open: FileHandle): Promise<void> {
    const { file } = open;
    const isSynced = await file.writer.sync();
    file.inode.errors.tell(open);
    if (isSynced) return;
    await this.#makeDurable(file);
    // It has waited for what was told as well.
    file.inode.errors.tell(open);
  }

  #makeDurable(file: FileState): Promise<void> {
    return this.parts.core.ask("fsync", { ino: file.ino }, SELF, () => undefined);
  }
}

/** The answer to a read, as the kernel keeps it. */
function kept({ file, isDirect }: FileHandle, off: number, size: number, data: Buffer): Buffer {
  if (isDirect) return data;
  file.hasPages = true;
  if (data.length < size) file.endedAt(off + data.length);
  return data;
}
