import { conflictOf, endOf, withLock } from "../../daemon/common/file-locks.js";
import type { Attr, FileLock, StatFsReply } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time, Xattr } from "../../proto/gen/bigfs/v1/rows.js";
import { systemClock } from "../../daemon/common/clock.js";
import { FsError, fail } from "../../proto/errno.js";
import { nameBytes, nameOf, type Name } from "../../proto/name.js";
import type {
  Attributes,
  Caller,
  Change,
  FileSystem,
  Found,
  KernelCache,
  Listed,
  OpenFlags,
  Opened,
  WriteFlags,
  XattrChange,
} from "../../mount/vfs/filesystem.js";

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const PAGE = 128 * 1024;

interface Entry {
  readonly node: Node;
  readonly cookie: number;
}

interface Node {
  readonly ino: number;
  mode: number;
  uid: number;
  gid: number;
  nlink: number;
  readonly rdev: number;
  size: number;
  atime: Time;
  mtime: Time;
  ctime: Time;
  readonly btime: Time;
  /** Content by page number; what is missing is a hole. */
  readonly pages: Map<number, Buffer>;
  readonly target: Buffer;
  readonly xattrs: Map<Name, Buffer>;
  locks: readonly FileLock[];
  readonly lockWaiters: (() => void)[];
  readonly children: Map<Name, Entry>;
  parent: number;
  /** References that the kernel holds. */
  references: number;
  handles: number;
}

interface Handle {
  readonly node: Node;
  readonly append: boolean;
}

export interface MemoryOptions {
  readonly attrMs?: number;
  readonly entryMs?: number;
}

/** A whole filesystem in memory, as correct as it is simple: what adapters are tested over. */
export class MemoryFileSystem implements FileSystem {
  readonly root = 1;
  kernel: KernelCache | undefined;
  drained = false;
  readonly #opts: Required<MemoryOptions>;
  readonly #nodes = new Map<number, Node>();
  readonly #handles = new Map<number, Handle>();
  #nextIno = 2;
  #nextHandle = 1;
  #nextCookie = 3;

  constructor(opts: MemoryOptions = {}) {
    this.#opts = { attrMs: opts.attrMs ?? 1000, entryMs: opts.entryMs ?? 1000 };
    const root = this.#make({ uid: 0, gid: 0, pid: 0 }, S_IFDIR | 0o755, 1);
    root.nlink = 2;
    root.parent = 1;
  }

  /** What is still there: inodes by what keeps them. */
  census(): { nodes: number; references: number; handles: number } {
    const nodes = [...this.#nodes.values()];
    const references = nodes.reduce((sum, node) => sum + (node.ino === 1 ? 0 : node.references), 0);
    return { nodes: nodes.length, references, handles: this.#handles.size };
  }

  attach(kernel: KernelCache): void {
    if (this.kernel !== undefined) throw new Error("attached twice");
    this.kernel = kernel;
  }

  lookup(_who: Caller, dir: number, name: Name): Found {
    const entry = this.#dir(dir).children.get(name);
    if (entry === undefined) return { attr: undefined, attrMs: 0, entryMs: this.#opts.entryMs };
    return this.#found(entry.node);
  }

  forget(ino: number, count: number): void {
    const node = this.#node(ino);
    if (ino !== 1 && node.references < count) throw new Error(`forget ${count} of ${node.references} on ${ino}`);
    node.references -= count;
    this.#reap(node);
  }

  getattr(_who: Caller, ino: number): Attributes {
    return { attr: this.#attr(this.#node(ino)), attrMs: this.#opts.attrMs };
  }

  setattr(_who: Caller, ino: number, change: Change): Attributes {
    const node = this.#node(ino);
    const now = systemClock.now();
    if (change.mode !== undefined) node.mode = (node.mode & S_IFMT) | change.mode;
    if (change.uid !== undefined) node.uid = change.uid;
    if (change.gid !== undefined) node.gid = change.gid;
    if (change.size !== undefined) this.#truncate(node, change.size);
    if (change.atime !== undefined) node.atime = change.atime === "now" ? now : change.atime;
    if (change.mtime !== undefined) node.mtime = change.mtime === "now" ? now : change.mtime;
    node.ctime = now;
    return this.getattr(_who, ino);
  }

  access(): void {}

  readlink(_who: Caller, ino: number): Buffer {
    return this.#node(ino).target;
  }

  mknod(who: Caller, dir: number, name: Name, mode: number, rdev: number, umask: number): Found {
    return this.#found(this.#add(dir, name, () => this.#make(who, mode & ~umask, dir, { rdev })));
  }

  mkdir(who: Caller, dir: number, name: Name, mode: number, umask: number): Found {
    const node = this.#add(dir, name, () => this.#make(who, S_IFDIR | (mode & ~umask), dir));
    node.nlink = 2;
    this.#node(dir).nlink++;
    return this.#found(node);
  }

  symlink(who: Caller, dir: number, name: Name, target: Buffer): Found {
    return this.#found(this.#add(dir, name, () => this.#make(who, S_IFLNK | 0o777, dir, { target })));
  }

  link(_who: Caller, ino: number, dir: number, name: Name): Found {
    const node = this.#add(dir, name, () => this.#node(ino));
    node.nlink++;
    return this.#found(node);
  }

  unlink(_who: Caller, dir: number, name: Name): void {
    const { node } = this.#dir(dir).children.get(name) ?? fail("ENOENT");
    if (isDir(node)) fail("EISDIR");
    this.#remove(dir, name);
  }

  rmdir(_who: Caller, dir: number, name: Name): void {
    const { node } = this.#dir(dir).children.get(name) ?? fail("ENOENT");
    if (!isDir(node)) fail("ENOTDIR");
    if (node.children.size > 0) fail("ENOTEMPTY");
    this.#remove(dir, name);
  }

  rename(_who: Caller, move: Parameters<FileSystem["rename"]>[1]): void {
    if (move.whiteout === true) fail("EINVAL");
    const from = this.#dir(move.fromDir).children;
    const into = this.#dir(move.intoDir).children;
    const moved = from.get(move.fromName) ?? fail("ENOENT");
    const there = into.get(move.intoName);
    if (move.exchange) {
      const other = there ?? fail("ENOENT");
      from.set(move.fromName, { node: other.node, cookie: moved.cookie });
      into.set(move.intoName, { node: moved.node, cookie: other.cookie });
      return;
    }
    if (there !== undefined) {
      if (move.noReplace) fail("EEXIST");
      if (there.node === moved.node) return;
      if (isDir(there.node) && there.node.children.size > 0) fail("ENOTEMPTY");
      this.#remove(move.intoDir, move.intoName);
    }
    from.delete(move.fromName);
    into.set(move.intoName, { node: moved.node, cookie: this.#nextCookie++ });
    if (!isDir(moved.node)) return;
    this.#node(move.fromDir).nlink--;
    this.#node(move.intoDir).nlink++;
    moved.node.parent = move.intoDir;
  }

  create(
    who: Caller,
    dir: number,
    name: Name,
    mode: number,
    umask: number,
    flags: OpenFlags & { exclusive: boolean },
  ): Found & Opened {
    const there = this.#dir(dir).children.get(name)?.node;
    if (there !== undefined && flags.exclusive) fail("EEXIST");
    const node = there ?? this.#add(dir, name, () => this.#make(who, S_IFREG | (mode & ~umask), dir));
    return { ...this.#open(node, flags), ...this.#found(node) };
  }

  createUnnamed(who: Caller, dir: number, mode: number, umask: number, flags: OpenFlags): Found & Opened {
    const node = this.#make(who, S_IFREG | (mode & ~umask), dir);
    node.nlink = 0;
    return { ...this.#open(node, flags), ...this.#found(node) };
  }

  open(_who: Caller, ino: number, flags: OpenFlags): Opened {
    return this.#open(this.#node(ino), flags);
  }

  read(handle: number, off: number, size: number): Buffer {
    const { node } = this.#handle(handle);
    const length = Math.max(0, Math.min(size, node.size - off));
    const single = node.pages.get(Math.floor(off / PAGE));
    if (single !== undefined && (off % PAGE) + length <= PAGE)
      return single.subarray(off % PAGE, (off % PAGE) + length);
    const data = Buffer.alloc(length);
    for (const piece of pieces(off, length)) {
      node.pages.get(piece.page)?.copy(data, piece.at, piece.from, piece.from + piece.length);
    }
    return data;
  }

  write(handle: number, off: number, data: Buffer, flags?: WriteFlags): number {
    const { node, append } = this.#handle(handle);
    const start = (flags?.append ?? append) ? node.size : off;
    for (const piece of pieces(start, data.length)) {
      const page = node.pages.get(piece.page) ?? Buffer.alloc(PAGE);
      node.pages.set(piece.page, page);
      data.copy(page, piece.from, piece.at, piece.at + piece.length);
    }
    node.size = Math.max(node.size, start + data.length);
    node.mtime = node.ctime = systemClock.now();
    return data.length;
  }

  flush(handle: number, lockOwner?: string): void {
    this.#handle(handle);
    if (lockOwner !== undefined) void this.setLock(handle, endOf(lockOwner, false));
  }

  setLock(handle: number, lock: FileLock, wait?: AbortSignal): void | Promise<void> {
    const { node } = this.#handle(handle);
    if (conflictOf(node.locks, lock) === undefined) {
      node.locks = withLock(node.locks, lock);
      for (const wake of node.lockWaiters.splice(0)) wake();
      return;
    }
    if (wait === undefined) fail("EAGAIN");
    return new Promise<void>((resolve, reject) => {
      node.lockWaiters.push(resolve);
      wait.addEventListener("abort", () => reject(new FsError("EINTR")));
    }).then(() => this.setLock(handle, lock, wait));
  }

  getLock(handle: number, lock: FileLock): FileLock | undefined {
    return conflictOf(this.#handle(handle).node.locks, lock);
  }

  release(handle: number, flockOwner?: string): void {
    if (flockOwner !== undefined) void this.setLock(handle, endOf(flockOwner, true));
    const { node } = this.#handle(handle);
    this.#handles.delete(handle);
    node.handles--;
    this.#reap(node);
  }

  fsync(handle: number): void {
    this.#handle(handle);
  }

  fallocate(handle: number, mode: number, off: number, len: number): void {
    const { node } = this.#handle(handle);
    if (mode === 0) node.size = Math.max(node.size, off + len);
    else if (mode !== 3) fail("EOPNOTSUPP");
    else this.#punch(node, off, Math.max(0, Math.min(len, node.size - off)));
  }

  copyRange(from: { handle: number; off: number }, into: { handle: number; off: number }, len: number): number {
    const data = Buffer.from(this.read(from.handle, from.off, Math.min(len, 1 << 20)));
    return data.length === 0 ? 0 : this.write(into.handle, into.off, data);
  }

  lseek(handle: number, off: number, whence: 3 | 4): number {
    const { node } = this.#handle(handle);
    if (off >= node.size) fail("ENXIO");
    for (let at = off; at < node.size; at = (Math.floor(at / PAGE) + 1) * PAGE) {
      if (node.pages.has(Math.floor(at / PAGE)) === (whence === 3)) return at;
    }
    return whence === 4 ? node.size : fail("ENXIO");
  }

  opendir(_who: Caller, ino: number): { handle: number } {
    return this.#openNode(this.#dir(ino), false);
  }

  readdir(handle: number, cookie: number, withAttributes: boolean, take: (entry: Listed) => boolean): void {
    const { node } = this.#handle(handle);
    const dots: [string, number][] = [
      [".", node.ino],
      ["..", node.parent],
    ];
    for (const [i, [name, ino]] of dots.entries()) {
      if (cookie > i) continue;
      if (!take({ name: name as Name, ino, type: S_IFDIR, cookie: i + 1, found: undefined })) return;
    }
    const later = [...node.children].filter(([, entry]) => entry.cookie > cookie);
    for (const [name, entry] of later.sort(([, a], [, b]) => a.cookie - b.cookie)) {
      const { ino, mode } = entry.node;
      const found = withAttributes ? this.#validity(entry.node) : undefined;
      if (!take({ name, ino, type: mode & S_IFMT, cookie: entry.cookie, found })) return;
      if (withAttributes) entry.node.references++;
    }
  }

  releasedir(handle: number): void {
    this.release(handle);
  }

  fsyncdir(handle: number): void {
    this.#handle(handle);
  }

  statfs(): StatFsReply {
    return { capacity: 2 ** 40, free: 2 ** 39, inodes: this.#nodes.size };
  }

  getxattr(_who: Caller, ino: number, name: Name): Buffer {
    return this.#node(ino).xattrs.get(name) ?? fail("ENODATA");
  }

  listxattr(_who: Caller, ino: number): Xattr[] {
    return [...this.#node(ino).xattrs].map(([name, value]) => ({ name: nameBytes(name), value }));
  }

  setxattr(_who: Caller, ino: number, { name, value, flags }: XattrChange): void {
    const { xattrs } = this.#node(ino);
    if (flags === 1 && xattrs.has(name)) fail("EEXIST");
    if (flags === 2 && !xattrs.has(name)) fail("ENODATA");
    xattrs.set(name, value);
  }

  removexattr(_who: Caller, ino: number, name: Name): void {
    if (!this.#node(ino).xattrs.delete(name)) fail("ENODATA");
  }

  drain(): Promise<void> {
    this.drained = true;
    return Promise.resolve();
  }

  /** For tests, behind the kernel's back. */
  inoOf(path: string): number {
    let node = this.#node(1);
    for (const part of path.split("/").filter((p) => p !== "")) {
      node = (node.children.get(nameOf(Buffer.from(part))) ?? fail("ENOENT")).node;
    }
    return node.ino;
  }

  #node(ino: number): Node {
    return this.#nodes.get(ino) ?? fail("ESTALE");
  }

  #dir(ino: number): Node {
    const node = this.#node(ino);
    return isDir(node) ? node : fail("ENOTDIR");
  }

  #handle(handle: number): Handle {
    return this.#handles.get(handle) ?? fail("EBADF");
  }

  #make(who: Caller, mode: number, parent: number, also: { rdev?: number; target?: Buffer } = {}): Node {
    const now = systemClock.now();
    const times = { atime: now, mtime: now, ctime: now, btime: now };
    const target = also.target ?? Buffer.alloc(0);
    const node: Node = {
      ...times,
      ino: this.#nodes.size === 0 ? 1 : this.#nextIno++,
      mode,
      uid: who.uid,
      gid: who.gid,
      nlink: 1,
      rdev: also.rdev ?? 0,
      size: target.length,
      pages: new Map(),
      target,
      xattrs: new Map(),
      locks: [],
      lockWaiters: [],
      children: new Map(),
      parent,
      references: 0,
      handles: 0,
    };
    this.#nodes.set(node.ino, node);
    return node;
  }

  #add(dir: number, name: Name, make: () => Node): Node {
    const parent = this.#dir(dir);
    if (parent.children.has(name)) fail("EEXIST");
    const node = make();
    parent.children.set(name, { node, cookie: this.#nextCookie++ });
    parent.mtime = parent.ctime = systemClock.now();
    return node;
  }

  #remove(dir: number, name: Name): void {
    const parent = this.#dir(dir);
    const { node } = parent.children.get(name) ?? fail("ENOENT");
    parent.children.delete(name);
    parent.mtime = parent.ctime = systemClock.now();
    node.nlink -= isDir(node) ? 2 : 1;
    if (isDir(node)) parent.nlink--;
    this.#reap(node);
  }

  #reap(node: Node): void {
    if (node.nlink <= 0 && node.references === 0 && node.handles === 0) this.#nodes.delete(node.ino);
  }

  #open(node: Node, flags: OpenFlags): Opened {
    if (flags.truncate) this.#truncate(node, 0);
    return { ...this.#openNode(node, flags.append), keepCache: true, direct: false };
  }

  #openNode(node: Node, append: boolean): { handle: number } {
    const handle = this.#nextHandle++;
    this.#handles.set(handle, { node, append });
    node.handles++;
    return { handle };
  }

  #truncate(node: Node, size: number): void {
    if (size < node.size) this.#punch(node, size, node.size - size);
    node.size = size;
    node.mtime = node.ctime = systemClock.now();
  }

  #punch(node: Node, off: number, len: number): void {
    for (const page of [...node.pages.keys()]) {
      const start = Math.max(off, page * PAGE);
      const end = Math.min(off + len, (page + 1) * PAGE);
      if (start >= end) continue;
      if (end - start === PAGE) node.pages.delete(page);
      else node.pages.get(page)?.fill(0, start - page * PAGE, end - page * PAGE);
    }
  }

  #attr(node: Node): Attr {
    const { ino, mode, uid, gid, nlink, rdev, size, atime, mtime, ctime, btime, pages } = node;
    const stored = Math.min(pages.size * PAGE, size);
    return { ino, mode, uid, gid, nlink, rdev, size, atime, mtime, ctime, btime, stored, version: 0, truncSeq: 0 };
  }

  #validity(node: Node): Found {
    return { attr: this.#attr(node), ...this.#opts };
  }

  #found(node: Node): Found {
    node.references++;
    return this.#validity(node);
  }
}

function isDir(node: Node): boolean {
  return (node.mode & S_IFMT) === S_IFDIR;
}

/** The pages that off..off+length touches. */
function* pieces(off: number, length: number) {
  for (let done = 0; done < length;) {
    const page = Math.floor((off + done) / PAGE);
    const from = (off + done) % PAGE;
    const part = Math.min(PAGE - from, length - done);
    yield { page, from, at: done, length: part };
    done += part;
  }
}
