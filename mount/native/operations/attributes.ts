import type { Change } from "../../vfs/filesystem.js";
import type { Operation } from "../answers.js";
import { attributeName } from "../paths.js";
import { fail } from "../../../proto/errno.js";
import type { Name } from "../../../proto/name.js";
import { joined, statInts, statfsInts, timeOf } from "../stat.js";
import type { Context } from "./context.js";

/** chown(2): stays as it is. */
const UNCHANGED = 0xffff_ffff;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function attributeOperations({ fs, who, paths, table }: Context): Record<string, Operation> {
  const change = async (path: string, to: Change) => {
    await fs.setattr(who, await paths.ino(path), to);
  };
  return {
    getattr: {
      name: "getattr",
      run: async (path: string) => [statInts(await paths.attr(path))],
    },
    fgetattr: {
      name: "getattr",
      run: async (_path: string, number: number) => [statInts((await fs.getattr(who, table.get(number).ino)).attr)],
    },
    chmod: {
      name: "setattr",
      run: (path: string, mode: number) => change(path, { mode: mode & 0o7777 }),
    },
    chown: {
      name: "setattr",
      run: (path: string, uid: number, gid: number) =>
        change(path, { ...(uid === UNCHANGED ? {} : { uid }), ...(gid === UNCHANGED ? {} : { gid }) }),
    },
    truncate: {
      name: "setattr",
      run: (path: string, low: number, high: number) => change(path, { size: sizeOf(low, high) }),
    },
    ftruncate: {
      name: "setattr",
      async run(_path: string, number: number, low: number, high: number) {
        const { ino, handle } = table.get(number);
        await fs.setattr(who, ino, { size: sizeOf(low, high) }, handle);
      },
    },
    utimens: {
      name: "setattr",
      run: (path: string, ...[atimeLow, atimeHigh, mtimeLow, mtimeHigh]: [number, number, number, number]) =>
        change(path, { atime: timeOf(atimeLow, atimeHigh), mtime: timeOf(mtimeLow, mtimeHigh) }),
    },
    readlink: {
      name: "readlink",
      run: async (path: string) => [text(await fs.readlink(who, await paths.ino(path)))],
    },
    statfs: {
      name: "statfs",
      run: async () => [statfsInts(await fs.statfs())],
    },
    getxattr: {
      name: "getxattr",
      always: (_path: string, _name: string, into: Buffer) => [into.buffer],
      async run(path: string, name: string, into: Buffer) {
        const value = await fs.getxattr(who, await paths.ino(path), kept(name));
        return fill(into, value);
      },
    },
    listxattr: {
      name: "listxattr",
      always: (_path: string, into: Buffer) => [into.buffer],
      async run(path: string, into: Buffer) {
        const found = await fs.listxattr(who, await paths.ino(path));
        const zero = Buffer.of(0);
        return fill(into, Buffer.concat(found.flatMap((xattr) => [xattr.name, zero])));
      },
    },
    setxattr: {
      name: "setxattr",
      always: (_path: string, _name: string, value: Buffer) => [value.buffer],
      async run(path: string, name: string, value: Buffer, _position: number, flags: number) {
        // What is under way belongs to the filesystem, this buffer to the addon.
        const change = { name: kept(name), value: Buffer.from(value), flags, killSgid: false };
        await fs.setxattr(who, await paths.ino(path), change);
      },
    },
    removexattr: {
      name: "removexattr",
      run: async (path: string, name: string) => fs.removexattr(who, await paths.ino(path), kept(name)),
    },
  };
}

function sizeOf(low: number, high: number): number {
  const size = joined(low, high);
  return size > Number.MAX_SAFE_INTEGER ? fail("EFBIG") : size;
}

/** Whoever asks with no room wants the length. (The addon would answer more than there is room for.) */
function fill(into: Buffer, value: Buffer): number {
  if (into.length === 0) return value.length;
  if (value.length > into.length) fail("ERANGE");
  return value.copy(into);
}

/** Access control lists would be kept and not enforced. */
function kept(name: string): Name {
  return name.startsWith("system.posix_acl_") ? fail("EOPNOTSUPP") : attributeName(name);
}

/** A target that is not UTF-8 cannot be told, and another one must not be. */
function text(target: Buffer): string {
  try {
    return UTF8.decode(target);
  } catch {
    return fail("EILSEQ", "only UTF-8 comes through fuse-native");
  }
}
