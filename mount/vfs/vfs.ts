import type { MetaEvents } from "./ports.js";
import type { FileLock, HeldLocks, OpenFile, Recall, StatFsReply } from "../../proto/gen/bigfs/v1/meta.js";
import type { Xattr } from "../../proto/gen/bigfs/v1/rows.js";
import type { Name } from "../../proto/name.js";
import { InodeAttributes } from "./attributes.js";
import { Core, SELF, type VfsOptions, type VfsParts } from "./core.js";
import { Compactor } from "./compactor.js";
import { Directories } from "./directories.js";
import { ExtendedAttributes } from "./xattrs.js";
import { Extents } from "./extents.js";
import { FileData } from "./file-data.js";
import type {
  Attributes,
  Caller,
  Change,
  FileSystem,
  Found,
  KernelCache,
  Listed,
  Maybe,
  OpenFlags,
  Opened,
  WriteFlags,
  XattrChange,
} from "./filesystem.js";
import { Heir } from "./heir.js";
import { Locks } from "./locks.js";
import { vfsMetrics } from "./metrics.js";
import type { Move } from "./name-effects.js";
import { Namespace } from "./namespace.js";
import { OpenFiles } from "./open-files.js";
import { ChunkCache } from "./reader/chunk-cache.js";
import { Reader } from "./reader/reader.js";
import { Recalls } from "./recalls.js";
import { Budget } from "./writer/budget.js";
import { Uploader } from "./writer/uploader.js";

/**
 * The client: a filesystem out of a metadata daemon and storage nodes. Joins the parts; each method is one line that
 * says which inodes a request of the kernel is about (see Busy) and who does it.
 */
export class Vfs implements FileSystem, MetaEvents {
  readonly root: number;
  readonly heir: Heir;
  readonly #core: Core;
  readonly #uploader: Uploader;
  readonly #attributes: InodeAttributes;
  readonly #names: Namespace;
  readonly #files: OpenFiles;
  readonly #data: FileData;
  readonly #extents: Extents;
  readonly #directories: Directories;
  readonly #xattrs: ExtendedAttributes;
  readonly #recalls: Recalls;
  readonly #locks: Locks;
  readonly #compactor: Compactor;

  constructor(parts: VfsParts, opts: VfsOptions) {
    const { meta, chunks, clock, log, registry } = parts;
    const { deadlines, cacheBytes, dirtyBytes } = opts;
    const core = new Core(parts, opts);
    const budget = new Budget(dirtyBytes, () => this.#storeAll());
    const cache = new ChunkCache({ chunks, clock }, { cacheBytes, tryMs: deadlines.chunkMs });
    const reader = new Reader(core, cache);
    this.#core = core;
    this.root = core.inodes.root;
    this.#uploader = new Uploader({ meta, chunks, clock, log, deadlines });
    this.#attributes = new InodeAttributes(core);
    this.#names = new Namespace(core);
    const metrics = vfsMetrics(registry, {
      inodes: () => core.inodes.size,
      openHandles: () => this.#files.count,
      dirtyBytes: () => budget.used,
      cacheBytes: () => cache.bytes,
    });
    const { lostWrites } = metrics;
    this.#locks = new Locks(core, this.#attributes);
    this.#files = new OpenFiles(core, { core, budget, uploader: this.#uploader, lostWrites, locks: this.#locks });
    this.#data = new FileData({
      core,
      locks: this.#locks,
      files: this.#files,
      attributes: this.#attributes,
      reader,
      budget,
    });
    this.#extents = new Extents({ core, files: this.#files, reader });
    this.#directories = new Directories(core);
    this.heir = new Heir(core, { files: this.#files, directories: this.#directories });
    this.#xattrs = new ExtendedAttributes(core);
    this.#recalls = new Recalls(core, this.#files, this.#locks);
    this.#compactor = new Compactor({ core, cache, uploader: this.#uploader });
    meta.listen(this);
  }

  attach(kernel: KernelCache): void {
    this.#core.kernel = kernel;
  }

  // What the metadata daemon asks.

  recall(recall: Recall): Promise<OpenFile[]> {
    return this.#recalls.recall(recall);
  }

  openFiles(): OpenFile[] {
    return this.#files.declared();
  }

  heldLocks(): HeldLocks[] {
    return this.#locks.declared();
  }

  unshared(inos: readonly number[]): void {
    this.#files.unshared(inos);
  }

  crowded(ino: number, slot: number): void {
    this.#compactor.compact(ino, slot).catch((error: unknown) => {
      this.#core.parts.log.debug({ err: error, ino, slot }, "a slot was not compacted");
    });
  }

  locksWanted(ino: number): void {
    this.#locks.wanted(ino).catch((error: unknown) => {
      this.#core.parts.log.error({ err: error, ino }, "locks could not be given up");
    });
  }

  locksFreed(ino: number): void {
    this.#locks.freed(ino);
  }

  uncached(): Promise<void> {
    return this.#recalls.uncached();
  }

  fenced(isLost: boolean): void {
    this.#uploader.ids.burn();
    this.#names.burnIds();
    this.#recalls.fenced(isLost);
  }

  lost(): void {
    this.#recalls.lost();
  }

  // Names.

  lookup(who: Caller, dir: number, name: Name): Maybe<Found> {
    return this.#core.busy.during([dir], () => this.#core.shown(this.#names.lookup(who, dir, name)));
  }

  forget(ino: number, count: number): void {
    this.#core.inodes.forget(ino, count);
  }

  mknod(who: Caller, dir: number, name: Name, mode: number, rdev: number, umask: number): Maybe<Found> {
    return this.#core.busy.during([dir], () => this.#names.mknod(who, { dir, name }, { mode, rdev, umask }));
  }

  mkdir(who: Caller, dir: number, name: Name, mode: number, umask: number): Maybe<Found> {
    return this.#core.busy.during([dir], () => this.#names.mkdir(who, { dir, name }, { mode, umask }));
  }

  symlink(who: Caller, dir: number, name: Name, target: Buffer): Maybe<Found> {
    return this.#core.busy.during([dir], () => this.#names.symlink(who, { dir, name }, target));
  }

  readlink(who: Caller, ino: number): Maybe<Buffer> {
    return this.#names.readlink(who, ino);
  }

  link(who: Caller, ino: number, dir: number, name: Name): Maybe<Found> {
    return this.#core.busy.during([dir, ino], () => this.#core.shown(this.#names.link(who, ino, { dir, name })));
  }

  unlink(who: Caller, dir: number, name: Name): Maybe<void> {
    return this.#core.busy.during([dir], () => this.#names.unlink(who, { dir, name }));
  }

  rmdir(who: Caller, dir: number, name: Name): Maybe<void> {
    return this.#core.busy.during([dir], () => this.#names.rmdir(who, { dir, name }));
  }

  rename(who: Caller, move: Move): Maybe<void> {
    return this.#core.busy.during([move.fromDir, move.intoDir], () => this.#names.rename(who, move));
  }

  // Attributes.

  getattr(_who: Caller, ino: number): Maybe<Attributes> {
    return this.#core.busy.during([ino], () => this.#core.shown(this.#attributes.get(ino)));
  }

  setattr(who: Caller, ino: number, change: Change, handle?: number): Maybe<Attributes> {
    if (change.size !== undefined && handle !== undefined) {
      const open = this.#files.get(handle);
      open.file.inode.errors.tell(open);
    }
    return this.#core.busy.during([ino], () => this.#attributes.set(who, ino, change));
  }

  access(who: Caller, ino: number, mask: number): Maybe<void> {
    return this.#attributes.access(who, ino, mask);
  }

  getxattr(_who: Caller, ino: number, name: Name): Maybe<Buffer> {
    return this.#core.busy.during([ino], () => this.#xattrs.get(ino, name));
  }

  listxattr(who: Caller, ino: number): Maybe<readonly Xattr[]> {
    return this.#core.busy.during([ino], () => this.#xattrs.list(who, ino));
  }

  setxattr(who: Caller, ino: number, change: XattrChange): Maybe<void> {
    return this.#core.busy.during([ino], () => this.#xattrs.set(who, ino, change));
  }

  removexattr(who: Caller, ino: number, name: Name): Maybe<void> {
    return this.#core.busy.during([ino], () => this.#xattrs.remove(who, ino, name));
  }

  // Files.

  create(
    who: Caller,
    dir: number,
    name: Name,
    mode: number,
    umask: number,
    flags: OpenFlags & { exclusive: boolean },
  ): Maybe<Found & Opened> {
    return this.#core.busy.during([dir], () =>
      this.#core.shown(this.#files.create(who, { dir, name }, { mode, umask }, flags)),
    );
  }

  createUnnamed(who: Caller, dir: number, mode: number, umask: number, flags: OpenFlags): Maybe<Found & Opened> {
    return this.#core.busy.during([dir], () => this.#files.createUnnamed(who, dir, { mode, umask }, flags));
  }

  open(who: Caller, ino: number, flags: OpenFlags): Maybe<Opened> {
    return this.#core.busy.during([ino], () => this.#files.open(who, ino, flags));
  }

  read(handle: number, off: number, size: number): Maybe<Buffer> {
    return this.#onFile(handle, () => this.#data.read(handle, off, size));
  }

  write(handle: number, off: number, data: Buffer, flags?: WriteFlags): Maybe<number> {
    return this.#onFile(handle, () => this.#data.write(handle, off, data, flags));
  }

  flush(handle: number, lockOwner?: string): Maybe<void> {
    return this.#onFile(handle, () => this.#data.flush(handle, lockOwner));
  }

  release(handle: number, flockOwner?: string): Maybe<void> {
    return this.#files.release(handle, flockOwner);
  }

  /** Not as a request about the file: it may wait for as long as others hold their locks. */
  setLock(handle: number, lock: FileLock, wait?: AbortSignal): Maybe<void> {
    return this.#locks.set(this.#files.get(handle), lock, wait);
  }

  getLock(handle: number, lock: FileLock): Maybe<FileLock | undefined> {
    return this.#locks.get(this.#files.get(handle), lock);
  }

  fsync(handle: number): Maybe<void> {
    return this.#onFile(handle, () => this.#data.fsync(handle));
  }

  fallocate(handle: number, mode: number, off: number, len: number): Maybe<void> {
    return this.#onFile(handle, () => this.#extents.fallocate(handle, mode, off, len));
  }

  copyRange(from: { handle: number; off: number }, into: { handle: number; off: number }, len: number): Maybe<number> {
    return this.#onFile(into.handle, () => this.#extents.copyRange(from, into, len));
  }

  lseek(handle: number, off: number, whence: 3 | 4): Maybe<number> {
    return this.#onFile(handle, () => this.#extents.lseek(handle, off, whence));
  }

  // Folders and the whole.

  opendir(_who: Caller, ino: number): Maybe<{ handle: number }> {
    return this.#directories.open(ino);
  }

  readdir(handle: number, cookie: number, withAttributes: boolean, take: (entry: Listed) => boolean): Maybe<void> {
    return this.#core.busy.during([this.#directories.inoOf(handle)], () =>
      this.#directories.read(handle, cookie, withAttributes, take),
    );
  }

  releasedir(handle: number): Maybe<void> {
    this.#directories.release(handle);
  }

  fsyncdir(handle: number): Maybe<void> {
    return this.#directories.sync(handle);
  }

  statfs(): Maybe<StatFsReply> {
    return this.#core.ask("statfs", {}, SELF, (reply) => reply);
  }

  async drain(): Promise<void> {
    this.#compactor.stop();
    await Promise.all([...this.#core.dirty].map((file) => file.writer.flush()));
    await this.#core.early.durable();
    this.#core.inodes.tellForgotten();
  }

  #storeAll(): void {
    for (const file of this.#core.dirty) file.writer.start();
  }

  #onFile<T>(handle: number, work: () => Maybe<T>): Maybe<T> {
    return this.#core.busy.during([this.#files.get(handle).file.ino], work);
  }
}
