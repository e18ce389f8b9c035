import { errnoOf, fail, type Errno } from "../../../proto/errno.js";
import type { Maybe } from "../../vfs/filesystem.js";
import type { Operation } from "../answers.js";
import { entryInts } from "../stat.js";
import { isHidingName, shownText, textBytes } from "../paths.js";
import type { Context } from "./context.js";

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const SET_ID = 0o6000;

export function nameOperations({ fs, who, paths, table, allowOther }: Context): Record<string, Operation> {
  /** With its folder an open file loses its path in libfuse, which then ends this process when the file is closed. */
  const mustHoldNothingOpen = (path: string) => {
    if (table.hasBelow(path)) fail("EBUSY", "a file in this folder is open");
  };
  return {
    mknod: {
      name: "mknod",
      async run(path: string, mode: number, rdev: number) {
        const { dir, name } = await paths.place(path);
        const isFile = (mode & S_IFMT) === S_IFREG;
        const kept = isFile && allowOther ? mode & ~SET_ID : mode;
        try {
          await paths.taken(fs.mknod(who, dir, name, kept, rdev, 0));
        } catch (error) {
          // Another mount was faster. open(2) then looks again and knows whether an existing file will do.
          if (isFile && errnoOf(error) === "EEXIST") fail("ESTALE");
          throw error;
        }
      },
    },
    mkdir: {
      name: "mkdir",
      async run(path: string, mode: number) {
        const { dir, name } = await paths.place(path);
        await paths.taken(fs.mkdir(who, dir, name, mode & 0o7777, 0));
      },
    },
    symlink: {
      name: "symlink",
      async run(target: string, path: string) {
        const { dir, name } = await paths.place(path);
        await paths.taken(fs.symlink(who, dir, name, textBytes(target)));
      },
    },
    link: {
      name: "link",
      async run(from: string, into: string) {
        const ino = await paths.ino(from);
        const { dir, name } = await paths.place(into);
        await paths.taken(fs.link(who, ino, dir, name));
      },
    },
    unlink: {
      name: "unlink",
      async run(path: string) {
        const { dir, name } = await paths.place(path);
        if (paths.unhide(name)) return;
        mustHoldNothingOpen(path);
        await fs.unlink(who, dir, name);
      },
    },
    rmdir: {
      name: "rmdir",
      async run(path: string) {
        const { dir, name } = await paths.place(path);
        mustHoldNothingOpen(path);
        await fs.rmdir(who, dir, name);
      },
    },
    rename: {
      name: "rename",
      async run(source: string, target: string) {
        const from = await paths.place(source);
        const into = await paths.place(target);
        const open = table.inoAt(source);
        if (open !== undefined && from.dir === into.dir && isHidingName(into.name)) {
          // libfuse keeps an open file that goes. Here that takes no name: it is removed, and answers to the new one.
          // It may be gone already, removed by another mount.
          await tolerating("ENOENT", () => fs.unlink(who, from.dir, from.name));
          paths.hide(into.name, open);
        } else {
          mustHoldNothingOpen(target);
          const names = { fromDir: from.dir, fromName: from.name, intoDir: into.dir, intoName: into.name };
          await fs.rename(who, { ...names, noReplace: false, exchange: false });
        }
        table.moved(source, target);
      },
    },
    opendir: {
      name: "opendir",
      async run(path: string) {
        const ino = await paths.ino(path);
        const { handle } = await fs.opendir(who, ino);
        return [table.add({ ino, handle })];
      },
    },
    // Asked for all of it at once, without the number that opendir gave.
    readdir: {
      name: "readdir",
      async run(path: string) {
        const { handle } = await fs.opendir(who, await paths.ino(path));
        try {
          return await listing(fs, handle);
        } finally {
          await fs.releasedir(handle);
        }
      },
    },
    releasedir: {
      name: "releasedir",
      run: (_path: string, number: number) => fs.releasedir(table.remove(number).handle),
    },
    fsyncdir: {
      name: "fsyncdir",
      run: (_path: string, _dataOnly: number, number: number) => fs.fsyncdir(table.get(number).handle),
    },
  };
}

async function tolerating(errno: Errno, work: () => Maybe<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (errnoOf(error) !== errno) throw error;
  }
}

async function listing(fs: Context["fs"], handle: number): Promise<[string[], Uint32Array[]]> {
  const names: string[] = [];
  const stats: Uint32Array[] = [];
  for (let cookie = 0, before = -1; cookie !== before;) {
    before = cookie;
    await fs.readdir(handle, cookie, false, (entry) => {
      cookie = entry.cookie;
      names.push(shownText(entry.name));
      stats.push(entryInts(entry.ino, entry.type));
      return true;
    });
  }
  return [names, stats];
}
