/** Copies one file into a volume or out of it: whole under its final name, or not there. */
import { createHash } from "node:crypto";
import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, chmod, chown, lstat, open, rename, rm, utimes } from "node:fs/promises";
import { FsError, fail } from "../../proto/errno.js";
import type { Attr } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import { nameOf } from "../../proto/name.js";
import { type LocalPath, beside, localName } from "./local-path.js";
import { type Files, type Node, type Place, isFolder } from "./files.js";

/** Bytes of one read and write; also what is compared before an interrupted copy goes on. */
const PIECE = 1024 * 1024;

export interface TransferOptions {
  /** Mode, owner and times too. */
  readonly preserve: boolean;
  /** Ends it: what is not whole is removed. */
  readonly signal: AbortSignal;
  /** So many bytes more are copied (or were found copied). */
  readonly copied: (bytes: number) => void;
}

const FLAGS = { append: false, truncate: false, sync: false };

/**
 * Puts a local file there, durably. It gets its name when it is whole; until then it lies beside it under a name that the
 * same file leads to again, so that a copy that was killed is continued. EAGAIN: the file changed meanwhile. EISDIR:
 * there is a folder.
 */
export async function putFile(files: Files, local: LocalPath, place: Place, opts: TransferOptions): Promise<void> {
  const { fs, who } = files;
  if (place.node !== undefined && isFolder(place.node)) fail("EISDIR", `there is a folder already`);
  const source = await open(local, "r");
  try {
    const before = await sourceOf(source);
    const name = nameOf(Buffer.from(`.bigfs-put-${digest([place.name, before.size, before.mtimeNs, before.ino])}`));
    const flags = { ...FLAGS, read: true, write: true, exclusive: false };
    const { handle, attr } = await fs.create(who, place.dir, name, 0o600, 0, flags);
    const ino = attr?.ino ?? fail("EIO", "a new file has no attributes");
    let isOpen = true;
    try {
      const reader = { read: (at: number, length: number) => readLocal(source, at, length) };
      const writer = {
        read: async (at: number, length: number) => fs.read(handle, at, length),
        write: async (at: number, data: Buffer) => void (await fs.write(handle, at, data)),
        cut: async () => void (await fs.setattr(who, ino, { size: 0 }, handle)),
      };
      await copy(reader, writer, { size: Number(before.size), there: attr?.size ?? 0 }, opts);
      const after = await sourceOf(source);
      if (after.size !== before.size || after.mtimeNs !== before.mtimeNs || after.ctimeNs !== before.ctimeNs) {
        fail("EAGAIN", "it changed while it was copied");
      }
      await fs.flush(handle);
      await fs.setattr(who, ino, { mode: Number(before.mode) & (opts.preserve ? 0o7777 : 0o777 & ~process.umask()) });
      if (opts.preserve) await preserve(files, ino, before);
      await fs.fsync(handle, false);
      isOpen = false;
      await fs.release(handle);
      fs.forget(ino, 1);
      opts.signal.throwIfAborted();
      const into = { fromDir: place.dir, fromName: name, intoDir: place.dir, intoName: place.name };
      await fs.rename(who, { ...into, noReplace: false, exchange: false });
    } catch (error) {
      if (isOpen) {
        await Promise.resolve(fs.release(handle)).catch(() => {});
        fs.forget(ino, 1);
      }
      await Promise.resolve(fs.unlink(who, place.dir, name)).catch(() => {});
      throw error;
    }
  } finally {
    await source.close();
  }
}

/**
 * Gets a file into a local one, durably: like `putFile`. The name of a folder is EISDIR.
 */
export async function getFile(files: Files, node: Node, local: LocalPath, opts: TransferOptions): Promise<void> {
  const { fs, who } = files;
  if (await isLocalFolder(local)) fail("EISDIR", `there is a folder already`);
  const { handle } = await fs.open(who, node.ino, { ...FLAGS, read: true, write: false });
  try {
    const { attr } = await fs.getattr(who, node.ino, handle);
    const name = nameOf(Buffer.from(`.bigfs-get-${digest([localName(local), attr.ino, attr.version, attr.size])}`));
    const part = beside(local, name);
    // Not through a link that somebody else may have put there.
    const target = await open(part, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    let isOpen = true;
    try {
      const reader = { read: async (at: number, length: number) => fs.read(handle, at, length) };
      const writer = {
        read: (at: number, length: number) => readLocal(target, at, length),
        write: async (at: number, data: Buffer) => void (await target.write(data, 0, data.length, at)),
        cut: () => target.truncate(0),
      };
      await copy(reader, writer, { size: attr.size, there: (await target.stat()).size }, opts);
      const after = (await fs.getattr(who, node.ino, handle)).attr;
      if (after.size !== attr.size || after.version !== attr.version) fail("EAGAIN", "it changed while it was copied");
      await target.sync();
      isOpen = false;
      await target.close();
      await chmod(part, attr.mode & (opts.preserve ? 0o7777 : 0o777 & ~process.umask()));
      if (opts.preserve) await preserveLocal(part, attr);
      opts.signal.throwIfAborted();
      await rename(part, local);
    } catch (error) {
      if (isOpen) await target.close().catch(() => {});
      await rm(part, { force: true });
      throw error;
    }
  } finally {
    await fs.release(handle);
  }
}

interface Source {
  read(at: number, length: number): Promise<Buffer>;
}

interface Target extends Source {
  write(at: number, data: Buffer): Promise<void>;
  /** To nothing. */
  cut(): Promise<void>;
}

/** Copies what is not there yet. What is there from an earlier try is kept if its end is the same. */
async function copy(
  source: Source,
  target: Target,
  { size, there }: { readonly size: number; readonly there: number },
  { signal, copied }: TransferOptions,
): Promise<void> {
  let at = there > 0 && there <= size && (await isSame(source, target, there)) ? there : 0;
  if (at === 0 && there > 0) await target.cut();
  copied(at);
  while (at < size) {
    signal.throwIfAborted();
    const data = await source.read(at, Math.min(PIECE, size - at));
    if (data.length === 0) fail("EAGAIN", "it became shorter while it was copied");
    await target.write(at, data);
    at += data.length;
    copied(data.length);
  }
}

async function isSame(source: Source, target: Target, size: number): Promise<boolean> {
  const length = Math.min(PIECE, size);
  const [a, b] = [await source.read(size - length, length), await target.read(size - length, length)];
  return a.equals(b);
}

async function readLocal(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, at);
  return buffer.subarray(0, bytesRead);
}

async function sourceOf(file: FileHandle): Promise<BigIntStats> {
  const stat = await file.stat({ bigint: true });
  if (!stat.isFile()) throw new FsError("EINVAL", stat.isDirectory() ? "it is a folder" : "it is no file");
  return stat;
}

async function isLocalFolder(path: LocalPath): Promise<boolean> {
  return lstat(path).then(
    (stat) => stat.isDirectory(),
    () => false,
  );
}

/** Mode, times and, for root, the owner, as far as the caller may. */
export async function preserve({ fs, who }: Files, ino: number, stat: BigIntStats): Promise<void> {
  const mode = Number(stat.mode) & 0o7777;
  await fs.setattr(who, ino, who.uid === 0 ? { uid: Number(stat.uid), gid: Number(stat.gid), mode } : { mode });
  await fs.setattr(who, ino, { atime: timeOf(stat.atimeNs), mtime: timeOf(stat.mtimeNs) });
}

/** The same of a local file; times are exact to a microsecond. */
export async function preserveLocal(path: LocalPath, attr: Attr): Promise<void> {
  if (process.getuid?.() === 0) await chown(path, attr.uid, attr.gid);
  await chmod(path, attr.mode & 0o7777);
  await utimes(path, secondsOf(attr.atime), secondsOf(attr.mtime));
}

function timeOf(ns: bigint): Time {
  const sec = ns / 1_000_000_000n;
  return { sec: Number(sec), nsec: Number(ns - sec * 1_000_000_000n) };
}

function secondsOf(time: Time | undefined): number {
  return (time?.sec ?? 0) + (time?.nsec ?? 0) / 1e9;
}

function digest(parts: readonly (string | number | bigint)[]): string {
  return createHash("sha256").update(parts.join("/")).digest("hex").slice(0, 24);
}
