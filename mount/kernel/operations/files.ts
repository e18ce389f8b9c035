import {
  parseCopy,
  parseCreate,
  parseFallocate,
  parseFsync,
  parseFlush,
  parseOpen,
  parseRead,
  parseRelease,
  parseSeek,
  parseTmpfile,
  parseWrite,
  type CopyRequest,
  writeCount,
  writeOpened,
} from "../codec/files.js";
import { tagOf } from "../codec/handle.js";
import type { Head } from "../codec/header.js";
import type { FileSystem, Found, Maybe, Opened } from "../../vfs/filesystem.js";
import { after, operation } from "./operation.js";
import { entryAnswer } from "./names.js";
import { killOthersPrivileges, killPrivileges } from "./privileges.js";

function undoOpened(fs: FileSystem, made: Found & Opened): Maybe<void> {
  entryAnswer.undo(fs, made);
  return fs.release(made.handle);
}

export const create = operation({
  name: "create",
  parse: parseCreate,
  run: (fs, head, { name, mode, umask, flags }) => fs.create(head.who, head.node, name, mode, umask, flags),
  reply(out, made, { flags }, { generation }) {
    entryAnswer.reply(out, made);
    writeOpened(out, made, tagOf(generation, flags.write));
    return undefined;
  },
  undo: undoOpened,
});

export const tmpfile = operation({
  name: "tmpfile",
  parse: parseTmpfile,
  run: (fs, head, { mode, umask, flags }) => fs.createUnnamed(head.who, head.node, mode, umask, flags),
  reply(out, made, { flags }, { generation }) {
    entryAnswer.reply(out, made);
    writeOpened(out, made, tagOf(generation, flags.write));
    return undefined;
  },
  undo: undoOpened,
});

export const open = operation({
  name: "open",
  parse: parseOpen,
  run(fs, head, request) {
    const opened = fs.open(head.who, head.node, request.flags);
    if (!request.killPrivileges) return opened;
    return after(opened, (file) => after(killPrivileges(fs, head, file.handle), () => file));
  },
  reply(out, opened, { flags }, { generation }) {
    writeOpened(out, opened, tagOf(generation, flags.write));
    return undefined;
  },
  undo: (fs, opened) => fs.release(opened.handle),
});

export const read = operation({
  name: "read",
  parse(cursor, { maxWrite }) {
    const { handle, off, size } = parseRead(cursor);
    return { handle, off, size: Math.min(size, maxWrite) };
  },
  run: (fs, _head, { handle, off, size }) =>
    off > Number.MAX_SAFE_INTEGER ? Buffer.alloc(0) : fs.read(handle, off, size),
  reply: (_out, data, { size }) => (data.length > size ? data.subarray(0, size) : data),
});

export const write = operation({
  name: "write",
  parse: parseWrite,
  run(fs, head, request) {
    // First, because the data is ours only during this call.
    const written = fs.write(request.handle, request.off, request.data, request.flags);
    if (!request.killPrivileges) return written;
    return after(written, (count) => after(killPrivileges(fs, head, request.handle), () => count));
  },
  reply(out, count) {
    writeCount(out, count);
    return undefined;
  },
});

export const flush = operation({
  name: "flush",
  parse: parseFlush,
  run: (fs, _head, { handle, lockOwner }) => fs.flush(handle, lockOwner),
});

export const release = operation({
  name: "release",
  parse: parseRelease,
  run: (fs, _head, { handle, flockOwner }) => fs.release(handle, flockOwner),
});

export const fsync = operation({
  name: "fsync",
  parse: parseFsync,
  run: (fs, _head, { handle, dataOnly }) => fs.fsync(handle, dataOnly),
});

export const fallocate = operation({
  name: "fallocate",
  parse: parseFallocate,
  run: (fs, head, { handle, mode, off, len }) =>
    after(fs.fallocate(handle, mode, off, len), () => killOthersPrivileges(fs, head, head.node, handle)),
});

export const lseek = operation({
  name: "lseek",
  parse: parseSeek,
  run: (fs, _head, { handle, off, whence }) => fs.lseek(handle, off, whence),
  reply(out, off) {
    out.u64(off);
    return undefined;
  },
});

function copy(fs: FileSystem, head: Head, { from, into, intoNode, len }: CopyRequest): Maybe<number> {
  return after(fs.copyRange(from, into, len), (count) =>
    after(killOthersPrivileges(fs, head, intoNode, into.handle), () => count),
  );
}

export const copyFileRange = operation({
  name: "copy_file_range",
  parse: parseCopy,
  run: copy,
  reply(out, count) {
    writeCount(out, count);
    return undefined;
  },
});

/** As the older one, with room for a count of 64 bits in the answer. */
export const copyFileRange64 = operation({
  name: "copy_file_range",
  parse: parseCopy,
  run: copy,
  reply(out, count) {
    out.u64(count);
    return undefined;
  },
});
