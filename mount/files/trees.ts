/** Whole folders: copied in and out, and removed. */
import { type FileHandle, lstat, mkdir, open, readdir, readlink, rename, rm, symlink } from "node:fs/promises";
import type { Clock } from "../../daemon/common/clock.js";
import { FsError, fail } from "../../proto/errno.js";
import type { Attr } from "../../proto/gen/bigfs/v1/meta.js";
import { type Name, nameOf } from "../../proto/name.js";
import { type Files, type Node, type Place, isFile, isFolder, isLink } from "./files.js";
import { type LocalPath, beside, inFolder, localName, shownLocal } from "./local-path.js";
import { shownName } from "./path.js";
import { Pool } from "./pool.js";
import {
  type TransferOptions,
  getFile,
  ignoreMissing,
  isPart,
  mustBeReplaceable,
  partName,
  preserve,
  preserveLocal,
  preserveLocalLink,
  putFile,
} from "./transfer.js";

/** Files under way at a time: each waits for disks and the network most of its time. */
const PARALLEL = 16;

/** Files that are found before they are copied, so that soon it is known how much there is. */
const AHEAD = 20_000;

/** A file that is not whole and was not written for so long belongs to a copy that was given up. */
const STALE_SEC = 60 * 60;

export interface TreeOptions extends TransferOptions {
  readonly clock: Pick<Clock, "now">;
  /** Every file is found. */
  readonly listed: () => void;
  /** Of each file that is done, and of each that failed. */
  readonly done: (path: string) => void;
  readonly failed: (path: string, error: unknown) => void;
}

/** Returns how many could not be copied; the others are. */
export async function putTree(files: Files, local: LocalPath, place: Place, opts: TreeOptions): Promise<number> {
  return walked(opts, async (walk) => {
    const put = async (path: LocalPath, at: Place): Promise<void> => {
      const stat = await lstat(path, { bigint: true });
      if (stat.isFile()) return walk.file(path, Number(stat.size), (own) => putFile(files, path, at, own));
      if (stat.isSymbolicLink()) return walk.file(path, 0, () => putLink(files, path, at, opts));
      if (!stat.isDirectory()) throw new FsError("EINVAL", "it is neither a file, a folder nor a link: left out");
      if (at.node !== undefined && !isFolder(at.node)) fail("ENOTDIR", `${shownName(at.name)} is no folder`);
      const mode = Number(stat.mode) & 0o7777 & ~process.umask();
      // What may not be written in has to be filled first.
      const node = at.node ?? (await files.mkdir(at, mode | 0o700));
      const there = new Map(
        at.node === undefined ? [] : (await files.list(node.ino)).map((entry) => [entry.name, entry]),
      );
      for (const bytes of await readdir(path, { encoding: "buffer" })) {
        const name = nameOf(bytes);
        if (isPart("get", name)) continue;
        await walk.entry(inFolder(path, name), (below) =>
          put(below, { dir: node.ino, name, node: there.get(name)?.node }),
        );
        there.delete(name);
      }
      const stale = [...there.keys()].filter((name) => isPart("put", name));
      walk.finally(path, async () => {
        for (const name of stale) await removeStale(files, { dir: node.ino, name }, opts);
        if (opts.preserve) await preserve(files, node.ino, stat);
        else if (at.node === undefined) await files.fs.setattr(files.who, node.ino, { mode });
      });
    };
    await walk.entry(local, (path) => put(path, place));
  });
}

/** Returns how many could not be copied; the others are. */
export async function getTree(files: Files, node: Node, local: LocalPath, opts: TreeOptions): Promise<number> {
  return walked(opts, async (walk) => {
    const get = async (path: LocalPath, from: Node): Promise<void> => {
      if (isLink(from)) return walk.file(path, 0, () => getLink(files, from, path, opts));
      if (!isFolder(from)) {
        if (!isFile(from)) throw new FsError("EINVAL", "it is neither a file, a folder nor a link: left out");
        return walk.file(path, from.attr.size, (own) => getFile(files, from, path, own));
      }
      const isNew = await makeLocal(path);
      const names = new Set<string>();
      for (const entry of await files.list(from.ino)) {
        names.add(entry.name);
        if (isPart("put", entry.name)) continue;
        await walk.entry(inFolder(path, entry.name), (below) => get(below, entry.node));
      }
      walk.finally(path, async () => {
        if (!isNew) await removeLocalStale(path, names, opts);
        await finishLocal(path, from.attr, { ...opts, isNew });
      });
    };
    await walk.entry(local, (path) => get(path, node));
  });
}

/** Whether the folder is new. What somebody else may have put there, a link above all, is not written through. */
async function makeLocal(path: LocalPath): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  if (!(await lstat(path)).isDirectory()) fail("ENOTDIR", "there is something that is no folder");
  return false;
}

/** Removes a name and everything below it. Returns how many could not be removed. */
export async function removeTree(
  files: Files,
  place: Place & { readonly node: Node },
  shown: string,
  opts: Pick<TreeOptions, "signal" | "done" | "failed">,
): Promise<number> {
  const { signal, done, failed } = opts;
  let failures = 0;
  const remove = async (at: Place & { readonly node: Node }, path: string): Promise<void> => {
    try {
      if (isFolder(at.node)) {
        const pool = new Pool({ size: PARALLEL, ahead: 0, signal, failed: () => {} });
        for (const { name, node } of await files.list(at.node.ino)) {
          const below = { dir: at.node.ino, name, node };
          const work = () => remove(below, `${path}/${shownName(name)}`);
          // One folder after the other, or a deep tree would be open as a whole.
          if (isFolder(node)) await work();
          else await pool.add(work);
        }
        await pool.idle();
      }
      signal.throwIfAborted();
      await files.remove(at, isFolder(at.node));
      done(path);
    } catch (error) {
      if (signal.aborted) return;
      failures++;
      failed(path, error);
    }
  };
  await remove(place, shown);
  return failures;
}

interface Walk {
  /** Looks at one name; what is wrong with it does not keep the others. */
  entry(path: LocalPath, work: (path: LocalPath) => Promise<void>): Promise<void>;
  /** Copies one file, at the same time as others. */
  file(path: LocalPath, size: number, copy: (opts: TransferOptions) => Promise<void>): Promise<void>;
  /** Does the rest for a folder when everything is copied: in order, so that those below come first. */
  finally(path: LocalPath, work: () => Promise<void>): void;
}

async function walked(opts: TreeOptions, work: (walk: Walk) => Promise<void>): Promise<number> {
  const { signal, found, listed, done, failed } = opts;
  let failures = 0;
  const tell = (path: LocalPath, error: unknown): void => {
    if (signal.aborted) return;
    failures++;
    failed(shownLocal(path), error);
  };
  const own = { ...opts, found: () => {} };
  const rest: (() => Promise<void>)[] = [];
  const pool = new Pool({ size: PARALLEL, ahead: AHEAD, signal, failed: () => {} });
  const walk: Walk = {
    entry: async (path, look) => {
      if (signal.aborted) return;
      await look(path).catch((error: unknown) => tell(path, error));
    },
    file: (path, size, copy) => {
      found(size);
      return pool.add(() =>
        copy(own).then(
          () => done(shownLocal(path)),
          (error: unknown) => tell(path, error),
        ),
      );
    },
    finally: (path, finish) => rest.push(() => finish().catch((error: unknown) => tell(path, error))),
  };
  await work(walk);
  listed();
  await pool.idle();
  for (const finish of rest) if (!signal.aborted) await finish();
  return failures;
}

async function removeStale(
  files: Files,
  part: { readonly dir: number; readonly name: Name },
  { clock }: Pick<TreeOptions, "clock">,
): Promise<void> {
  const now = await files.child(part.dir, part.name);
  if (now === undefined || clock.now().sec - (now.node.attr.mtime?.sec ?? 0) < STALE_SEC) return;
  await files.remove(part, false).catch(ignoreMissing);
}

async function removeLocalStale(
  folder: LocalPath,
  keep: ReadonlySet<string>,
  { clock }: Pick<TreeOptions, "clock">,
): Promise<void> {
  for (const bytes of await readdir(folder, { encoding: "buffer" })) {
    const name = nameOf(bytes);
    if (!isPart("get", name) || keep.has(name)) continue;
    const path = inFolder(folder, name);
    const stat = await lstat(path).catch(() => undefined);
    const isOurs = stat?.isFile() === true || stat?.isSymbolicLink() === true;
    if (isOurs && clock.now().sec - stat.mtimeMs / 1000 > STALE_SEC) await rm(path, { force: true });
  }
}

/** What a folder gets when everything is in it. */
async function finishLocal(path: LocalPath, attr: Attr, opts: { preserve: boolean; isNew: boolean }): Promise<void> {
  const folder: FileHandle = await open(path, "r");
  try {
    if (opts.preserve) await preserveLocal(folder, attr);
    else if (opts.isNew) await folder.chmod(attr.mode & 0o7777 & ~process.umask());
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Like a file, a link has its name when it is made, and what was there is there until then. */
async function putLink(
  files: Files,
  local: LocalPath,
  place: Place,
  opts: Pick<TreeOptions, "preserve">,
): Promise<void> {
  const { fs, who } = files;
  if (place.node !== undefined && isFolder(place.node)) fail("EISDIR", "there is a folder already");
  const target = await readlink(local, { encoding: "buffer" });
  const part = { dir: place.dir, name: partName("put", [place.name, target.toString("latin1")]) };
  await files.remove(part, false).catch(ignoreMissing);
  const { attr } = await fs.symlink(who, part.dir, part.name, target);
  const { ino } = attr ?? fail("EIO", "a new link has no attributes");
  fs.forget(ino, 1);
  try {
    if (opts.preserve) await preserve(files, ino, await lstat(local, { bigint: true }));
    await files.rename(part, place);
  } catch (error) {
    await files.remove(part, false).catch(ignoreMissing);
    throw error;
  }
}

async function getLink(files: Files, node: Node, local: LocalPath, opts: Pick<TreeOptions, "preserve">): Promise<void> {
  const target = await files.fs.readlink(files.who, node.ino);
  const part = beside(local, partName("get", [localName(local), target.toString("latin1")]));
  await rm(part, { force: true });
  await symlink(target, part);
  try {
    if (opts.preserve) await preserveLocalLink(part, node.attr);
    await mustBeReplaceable(local, { follow: false });
    await rename(part, local);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}
