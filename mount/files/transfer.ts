/** Copies one file into a volume or out of it: whole under its final name, or not there. */
import { createHash } from "node:crypto";
import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, lchown, lstat, lutimes, open, rename, rm, stat } from "node:fs/promises";
import { syncPath } from "../../daemon/common/durable.js";
import { fileBuffer } from "../../daemon/common/file-buffer.js";
import { errnoOf, fail } from "../../proto/errno.js";
import type { Attr } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import { type Name, nameOf } from "../../proto/name.js";
import { type LocalPath, beside, folderOf, localName } from "./local-path.js";
import { type Files, type Node, type Place, isFile, isFolder, isLink } from "./files.js";

/** Bytes of one read and write; also what is compared before an interrupted copy goes on. */
const PIECE = 1024 * 1024;

export interface TransferOptions {
  /** Mode, owner and times too. */
  readonly preserve: boolean;
  /** A file that is there with the same size and is not older is left as it is. */
  readonly update: boolean;
  /** Ends it: what is not whole is removed. */
  readonly signal: AbortSignal;
  /** A file with so many bytes is to be copied. */
  readonly found: (bytes: number) => void;
  /** So many bytes more are copied (or were found copied). */
  readonly copied: (bytes: number) => void;
}

const ZEROS = Buffer.alloc(PIECE);

const IS_FOLDER = "it is a folder: -r copies it with all that is in it";
const IS_NEITHER = "it is neither a file nor a folder";
const INTERRUPTED = "another copy of it was interrupted meanwhile, and removed: copy it again";
const CHANGED = "it changed while it was copied: copy it again";

const FLAGS = { append: false, truncate: false, sync: false };

const SEC_NS = 1_000_000_000n;

/** Times that a copy has kept differ by less: some systems keep them less exactly. */
const SAME_MS = 1;

/** Names of files that are not whole yet. */
const PARTS = { put: ".bigfs-put-", get: ".bigfs-get-" } as const;

export function isPart(kind: keyof typeof PARTS, name: string): boolean {
  return name.startsWith(PARTS[kind]) && /^[0-9a-f]{24}$/.test(name.slice(PARTS[kind].length));
}

/**
 * Puts a local file there, durably. It gets its name when it is whole; until then it lies beside it under a name that the
 * same file leads to again, so that a copy that was killed is continued. EAGAIN: the file changed meanwhile. EISDIR:
 * there is a folder. EINVAL: it is no file, and is not waited for.
 */
export async function putFile(files: Files, local: LocalPath, place: Place, opts: TransferOptions): Promise<void> {
  const { fs, who } = files;
  mustBeFile(await stat(local, { bigint: true }));
  const old = place.node;
  if (old !== undefined && isFolder(old)) fail("EISDIR", "there is a folder already");
  if (old !== undefined && !isFile(old) && !isLink(old)) fail("EEXIST", "there is something that is no file");
  const source = await open(local, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const before = mustBeFile(await source.stat({ bigint: true }));
    const size = Number(before.size);
    opts.found(size);
    if (opts.update && isThere(old, before)) return opts.copied(size);
    const part = partName("put", [place.name, before.size, before.mtimeNs, before.ctimeNs, before.ino, before.dev]);
    const reader = { read: (at: number, length: number) => readLocal(source, at, length) };
    const { handle, ino, there } = await openPart(files, { dir: place.dir, name: part }, { reader, size });
    let isOpen = true;
    try {
      const target = {
        write: async (at: number, data: Buffer) => void (await fs.write(handle, at, data)),
        setSize: async () => void (await fs.setattr(who, ino, { size })),
      };
      await copy(reader, target, { size, there }, opts);
      const after = await source.stat({ bigint: true });
      if (after.size !== before.size || after.mtimeNs !== before.mtimeNs || after.ctimeNs !== before.ctimeNs) {
        fail("EAGAIN", CHANGED);
      }
      await fs.flush(handle);
      await fs.setattr(who, ino, { mode: Number(before.mode) & (opts.preserve ? 0o7777 : 0o777 & ~process.umask()) });
      if (opts.preserve) await preserve(files, ino, before);
      await fs.fsync(handle, false);
      isOpen = false;
      await fs.release(handle);
      fs.forget(ino, 1);
      opts.signal.throwIfAborted();
      await files.rename({ dir: place.dir, name: part }, place).catch(async (error: unknown) => {
        // Another copy of the same file was faster; it wrote the same bytes into the same part.
        if (errnoOf(error) !== "ENOENT") throw error;
        const now = await files.child(place.dir, place.name);
        if (now?.node.ino !== ino) fail("EAGAIN", INTERRUPTED);
      });
    } catch (error) {
      if (isOpen) {
        await Promise.resolve(fs.release(handle)).catch(() => {});
        fs.forget(ino, 1);
      }
      await Promise.resolve(fs.unlink(who, place.dir, part)).catch(() => {});
      throw error;
    }
  } finally {
    await source.close();
  }
}

/** Opens the part of a copy, with what an earlier try has left of it if its end is that of the source. */
async function openPart(
  { fs, who }: Files,
  { dir, name }: { readonly dir: number; readonly name: Name },
  { reader, size }: { readonly reader: Source; readonly size: number },
): Promise<{ handle: number; ino: number; there: number }> {
  for (;;) {
    const flags = { ...FLAGS, read: true, write: true, exclusive: false };
    const { handle, attr } = await fs.create(who, dir, name, 0o600, 0, flags);
    const { ino, size: there } = attr ?? fail("EIO", "a new file has no attributes");
    const own = { read: async (at: number, length: number) => fs.read(handle, at, length) };
    let isUsable = false;
    try {
      isUsable = await isBeginning(reader, own, { size, there });
      if (isUsable) return { handle, ino, there };
    } finally {
      if (!isUsable) {
        // Not cut: another copy of the same file may be in it, or have given it its name.
        await fs.release(handle);
        fs.forget(ino, 1);
        await Promise.resolve(fs.unlink(who, dir, name)).catch(ignoreMissing);
      }
    }
  }
}

/**
 * Gets a file into a local one, durably: like `putFile`. A symbolic link that is there is replaced, unless it leads to a
 * device or the like. EISDIR: there is a folder, or it is one.
 */
export async function getFile(files: Files, node: Node, local: LocalPath, opts: TransferOptions): Promise<void> {
  const { fs, who } = files;
  const old = await lstat(local, { bigint: true }).catch(() => undefined);
  if (isFolder(node)) fail("EISDIR", IS_FOLDER);
  if (!isFile(node)) fail("EINVAL", IS_NEITHER);
  await mustBeReplaceable(local, { follow: true });
  const { handle } = await fs.open(who, node.ino, { ...FLAGS, read: true, write: false });
  try {
    const { attr } = await fs.getattr(who, node.ino, handle);
    opts.found(attr.size);
    if (opts.update && old?.isFile() === true && isGot(old, attr)) return opts.copied(attr.size);
    const part = beside(local, partName("get", [localName(local), attr.ino, attr.version, attr.size]));
    const reader = { read: async (at: number, length: number) => fs.read(handle, at, length) };
    const { target, there } = await openLocalPart(part, { reader, size: attr.size });
    let isOpen = true;
    try {
      const own = {
        write: async (at: number, data: Buffer) => void (await target.write(data, 0, data.length, at)),
        setSize: () => target.truncate(attr.size),
      };
      await copy(reader, own, { size: attr.size, there }, opts);
      const after = (await fs.getattr(who, node.ino, handle)).attr;
      if (after.size !== attr.size || after.version !== attr.version) fail("EAGAIN", CHANGED);
      await target.chmod(attr.mode & (opts.preserve ? 0o7777 : 0o777 & ~process.umask()));
      if (opts.preserve) await preserveLocal(target, attr);
      await target.sync();
      const { ino } = await target.stat();
      isOpen = false;
      await target.close();
      opts.signal.throwIfAborted();
      await rename(part, local).catch(async (error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOENT") throw error;
        const now = await lstat(local).catch(() => undefined);
        if (now?.ino !== ino) fail("EAGAIN", INTERRUPTED);
      });
      await syncPath(folderOf(local));
    } catch (error) {
      if (isOpen) await target.close().catch(() => {});
      await rm(part, { force: true });
      throw error;
    }
  } finally {
    await fs.release(handle);
  }
}

async function openLocalPart(
  part: LocalPath,
  { reader, size }: { readonly reader: Source; readonly size: number },
): Promise<{ target: FileHandle; there: number }> {
  for (;;) {
    // Not through a link that somebody else may have put there.
    const target = await open(part, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    const { size: there } = await target.stat();
    const own = { read: (at: number, length: number) => readLocal(target, at, length) };
    let isUsable = false;
    try {
      isUsable = await isBeginning(reader, own, { size, there });
      if (isUsable) return { target, there };
    } finally {
      if (!isUsable) {
        await target.close();
        await rm(part, { force: true });
      }
    }
  }
}

interface Source {
  read(at: number, length: number): Promise<Buffer>;
}

interface Target {
  write(at: number, data: Buffer): Promise<void>;
  /** Makes it as long as the source. */
  setSize(): Promise<void>;
}

/** Copies what is not there yet. Zeros become holes, so that what is mostly holes stays small. */
async function copy(
  source: Source,
  target: Target,
  { size, there }: { readonly size: number; readonly there: number },
  { signal, copied }: TransferOptions,
): Promise<void> {
  let at = there;
  let end = there;
  copied(at);
  while (at < size) {
    signal.throwIfAborted();
    const data = await source.read(at, Math.min(PIECE, size - at));
    if (data.length === 0) fail("EAGAIN", CHANGED);
    const isHole = data.equals(ZEROS.subarray(0, data.length));
    if (!isHole) await target.write(at, data);
    at += data.length;
    if (!isHole) end = at;
    copied(data.length);
  }
  if (end < size) await target.setSize();
}

/** Whether what is there is as long as the source at most and ends as it does there. */
async function isBeginning(
  source: Source,
  part: Source,
  { size, there }: { readonly size: number; readonly there: number },
): Promise<boolean> {
  if (there > size) return false;
  const length = Math.min(PIECE, there);
  const [a, b] = [await source.read(there - length, length), await part.read(there - length, length)];
  return a.equals(b);
}

async function readLocal(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(fileBuffer(length), 0, length, at);
  return buffer.subarray(0, bytesRead);
}

function mustBeFile(found: BigIntStats): BigIntStats {
  return found.isFile() ? found : fail("EINVAL", found.isDirectory() ? IS_FOLDER : IS_NEITHER);
}

/**
 * EISDIR for a folder, EEXIST for a device, say: it would be lost, and nothing written to it. `follow`: nor is a link to
 * one replaced.
 */
export async function mustBeReplaceable(local: LocalPath, { follow }: { readonly follow: boolean }): Promise<void> {
  const own = await lstat(local).catch(() => undefined);
  if (own?.isDirectory() === true) fail("EISDIR", "there is a folder already");
  const found = follow ? await stat(local).catch(() => own) : own;
  if (found === undefined || found.isFile() || found.isDirectory() || found.isSymbolicLink()) return;
  fail("EEXIST", "there is something that is no file: 'cat' writes to it");
}

/** What `update` leaves: a copy of this local file. */
function isThere(node: Node | undefined, source: BigIntStats): boolean {
  if (node === undefined || !isFile(node) || BigInt(node.attr.size) !== source.size) return false;
  return 1000 * secondsOf(node.attr.mtime) > Number(source.mtimeMs) - SAME_MS;
}

/** What `update` leaves: a copy of this file of the volume. */
function isGot(local: BigIntStats, attr: Attr): boolean {
  return local.size === BigInt(attr.size) && Number(local.mtimeMs) > 1000 * secondsOf(attr.mtime) - SAME_MS;
}

/** Mode (which a link has not), times and, for root, the owner, as far as the caller may. */
export async function preserve({ fs, who }: Files, ino: number, stat: BigIntStats): Promise<void> {
  const owner = who.uid === 0 ? { uid: Number(stat.uid), gid: Number(stat.gid) } : {};
  await fs.setattr(who, ino, stat.isSymbolicLink() ? owner : { ...owner, mode: Number(stat.mode) & 0o7777 });
  await fs.setattr(who, ino, { atime: timeOf(stat.atimeNs), mtime: timeOf(stat.mtimeNs) });
}

/** The same of a local file; times are exact to a microsecond. */
export async function preserveLocal(file: FileHandle, attr: Attr): Promise<void> {
  if (process.getuid?.() === 0) await file.chown(attr.uid, attr.gid);
  await file.chmod(attr.mode & 0o7777);
  // As text: Node takes negative numbers, before 1970, for mistakes and sets today.
  await file.utimes(`${secondsOf(attr.atime)}`, `${secondsOf(attr.mtime)}`);
}

/** The same of a local link. */
export async function preserveLocalLink(path: LocalPath, attr: Attr): Promise<void> {
  if (process.getuid?.() === 0) await lchown(path, attr.uid, attr.gid);
  await lutimes(path, `${secondsOf(attr.atime)}`, `${secondsOf(attr.mtime)}`);
}

function timeOf(ns: bigint): Time {
  const nsec = ((ns % SEC_NS) + SEC_NS) % SEC_NS;
  return { sec: Number((ns - nsec) / SEC_NS), nsec: Number(nsec) };
}

function secondsOf(time: Time | undefined): number {
  return (time?.sec ?? 0) + (time?.nsec ?? 0) / 1e9;
}

export function partName(kind: keyof typeof PARTS, of: readonly (string | number | bigint)[]): Name {
  const digest = createHash("sha256").update(of.join("/")).digest("hex");
  return nameOf(Buffer.from(`${PARTS[kind]}${digest.slice(0, 24)}`));
}

export function ignoreMissing(error: unknown): void {
  if (errnoOf(error) !== "ENOENT") throw error;
}
