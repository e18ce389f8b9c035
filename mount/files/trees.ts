/** Whole folders: copied in and out, and removed. */
import { chmod, lstat, mkdir, readdir, readlink, rm, symlink } from "node:fs/promises";
import { FsError, fail } from "../../proto/errno.js";
import { nameOf } from "../../proto/name.js";
import { type Files, type Node, type Place, isFolder, isLink } from "./files.js";
import { type LocalPath, inFolder, shownLocal } from "./local-path.js";
import { shownName } from "./path.js";
import { Pool } from "./pool.js";
import { type TransferOptions, getFile, preserve, preserveLocal, putFile } from "./transfer.js";

/** Files under way at a time: each waits for disks and the network most of its time. */
const PARALLEL = 16;

export interface TreeOptions extends TransferOptions {
  /** Of each file that is done, and of each that failed. */
  readonly done: (path: string) => void;
  readonly failed: (path: string, error: unknown) => void;
}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;

/** Returns how many could not be copied; the others are. */
export async function putTree(files: Files, local: LocalPath, place: Place, opts: TreeOptions): Promise<number> {
  return walked(opts, async (walk) => {
    const folders: (() => Promise<void>)[] = [];
    const put = async (path: LocalPath, at: Place): Promise<void> => {
      const stat = await lstat(path, { bigint: true });
      if (stat.isFile()) return walk.file(path, () => putFile(files, path, at, opts));
      if (stat.isSymbolicLink()) return walk.file(path, () => putLink(files, path, at));
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
        await walk.entry(inFolder(path, name), (below) =>
          put(below, { dir: node.ino, name, node: there.get(name)?.node }),
        );
      }
      if (opts.preserve) folders.push(() => preserve(files, node.ino, stat));
      else if (at.node === undefined)
        folders.push(async () => void (await files.fs.setattr(files.who, node.ino, { mode })));
    };
    await walk.entry(local, (path) => put(path, place));
    // When nothing is made in them any more, those below first.
    return async () => {
      for (const folder of folders) await folder();
    };
  });
}

/** Returns how many could not be copied; the others are. */
export async function getTree(files: Files, node: Node, local: LocalPath, opts: TreeOptions): Promise<number> {
  return walked(opts, async (walk) => {
    const folders: (() => Promise<void>)[] = [];
    const get = async (path: LocalPath, from: Node): Promise<void> => {
      if (isLink(from)) return walk.file(path, () => getLink(files, from, path));
      if (!isFolder(from)) {
        if ((from.attr.mode & S_IFMT) !== S_IFREG)
          throw new FsError("EINVAL", "it is neither a file, a folder nor a link: left out");
        return walk.file(path, () => getFile(files, from, path, opts));
      }
      const isNew = await mkdir(path).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code !== "EEXIST") throw error;
          return false;
        },
      );
      for (const entry of await files.list(from.ino)) {
        await walk.entry(inFolder(path, entry.name), (below) => get(below, entry.node));
      }
      const mode = from.attr.mode & 0o7777 & ~process.umask();
      if (opts.preserve) folders.push(() => preserveLocal(path, from.attr));
      else if (isNew) folders.push(() => chmod(path, mode));
    };
    await walk.entry(local, (path) => get(path, node));
    return async () => {
      for (const folder of folders) await folder();
    };
  });
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
        const pool = new Pool(PARALLEL, { signal, failed: () => {} });
        for (const { name, node } of await files.list(at.node.ino)) {
          const below = { dir: at.node.ino, name, node };
          const work = () => remove(below, `${path}/${shownName(name)}`);
          // One folder after the other, or a deep tree would be open as a whole.
          if (isFolder(node)) await work();
          else await pool.begin(work);
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
  file(path: LocalPath, work: () => Promise<void>): Promise<void>;
}

async function walked(opts: TreeOptions, work: (walk: Walk) => Promise<() => Promise<void>>): Promise<number> {
  const { signal, done, failed } = opts;
  let failures = 0;
  const tell = (path: LocalPath, error: unknown): void => {
    if (signal.aborted) return;
    failures++;
    failed(shownLocal(path), error);
  };
  const pool = new Pool(PARALLEL, { signal, failed: () => {} });
  const walk: Walk = {
    entry: async (path, look) => {
      if (signal.aborted) return;
      await look(path).catch((error: unknown) => tell(path, error));
    },
    file: (path, copy) =>
      pool.begin(() =>
        copy().then(
          () => done(shownLocal(path)),
          (error: unknown) => tell(path, error),
        ),
      ),
  };
  const finish = await work(walk);
  await pool.idle();
  if (!signal.aborted) await finish();
  return failures;
}

async function putLink(files: Files, local: LocalPath, place: Place): Promise<void> {
  const { fs, who } = files;
  const target = await readlink(local, { encoding: "buffer" });
  if (place.node !== undefined) await files.remove(place, false);
  const { attr } = await fs.symlink(who, place.dir, place.name, target);
  if (attr !== undefined) fs.forget(attr.ino, 1);
}

async function getLink(files: Files, node: Node, local: LocalPath): Promise<void> {
  const target = await files.fs.readlink(files.who, node.ino);
  await rm(local, { force: true });
  await symlink(target, local);
}
