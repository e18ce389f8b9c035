import type { FileSystem, Listed, Maybe } from "../../vfs/filesystem.js";
import { parseFsync, parseHandle, parseRead, writeOpened, type ReadRequest } from "../codec/files.js";
import { addEntry, addEntryPlus, counts, expireEntries } from "../codec/folders.js";
import { tagOf } from "../codec/handle.js";
import { OUT_HEADER, Output } from "../codec/output.js";
import { operation, type Channel } from "./operation.js";
import type { Cursor } from "../codec/cursor.js";

export const opendir = operation({
  name: "opendir",
  parse: () => undefined,
  run: (fs, head) => fs.opendir(head.who, head.node),
  reply(out, { handle }, _request, { generation }) {
    writeOpened(out, { handle, keepCache: false, direct: false }, tagOf(generation, false));
    return undefined;
  },
  undo: (fs, { handle }) => fs.releasedir(handle),
});

/** What one answer to a listing holds, and the inodes that the kernel takes a reference to with it. */
interface Page {
  readonly dir: number;
  readonly entries: Output;
  readonly referenced: number[];
  /** Where the entries that give references begin. */
  readonly starts: number[];
}

type ListRequest = ReadRequest & { readonly epoch: number };

function parseList(cursor: Cursor, { maxWrite, pending }: Channel): ListRequest {
  const request = parseRead(cursor);
  pending.linked(request.handle);
  return { ...request, size: Math.min(request.size, maxWrite), epoch: pending.epoch };
}

/** Fills a page. What was taken before an error is answered; the next call meets the error again. */
function list(fs: FileSystem, dir: number, { handle, off, size }: ListRequest, withAttributes: boolean): Maybe<Page> {
  const page: Page = { dir, entries: new Output(OUT_HEADER + size), referenced: [], starts: [] };
  if (off > Number.MAX_SAFE_INTEGER) return page;
  const add = withAttributes ? addEntryPlus : addEntry;
  const take = (entry: Listed) => {
    const start = page.entries.length;
    if (!add(page.entries, entry, OUT_HEADER + size)) return false;
    if (!withAttributes || !counts(entry)) return true;
    page.referenced.push(entry.found?.attr?.ino ?? 0);
    page.starts.push(start);
    return true;
  };
  const whole = () => page;
  const partial = (error: unknown) => {
    if (page.entries.length === OUT_HEADER) throw error;
    return page;
  };
  try {
    const listed = fs.readdir(handle, off, withAttributes, take);
    return listed instanceof Promise ? listed.then(whole, partial) : page;
  } catch (error) {
    return partial(error);
  }
}

function entriesOf(_out: Output, { entries }: Page): Buffer {
  return entries.bytes.subarray(OUT_HEADER, entries.length);
}

export const readdir = operation({
  name: "readdir",
  parse: parseList,
  run: (fs, { node }, request) => list(fs, node, request, false),
  reply: entriesOf,
});

export const readdirplus = operation({
  name: "readdirplus",
  parse: parseList,
  run: (fs, { node }, request) => list(fs, node, request, true),
  reply(out, page, { epoch, handle }, { pending }) {
    // The kernel counts these names to the epoch of when it takes them in, but they are as old as the question.
    if (epoch !== pending.epoch) expireEntries(page.entries, page.starts);
    else if (page.starts.length > 0) pending.links(page.dir, handle);
    return entriesOf(out, page);
  },
  undo(fs, { referenced }) {
    for (const ino of referenced) fs.forget(ino, 1);
  },
});

export const releasedir = operation({
  name: "releasedir",
  parse(cursor, { pending }) {
    const handle = parseHandle(cursor);
    pending.linked(handle);
    return handle;
  },
  run: (fs, _head, handle) => fs.releasedir(handle),
});

export const fsyncdir = operation({
  name: "fsyncdir",
  parse: parseFsync,
  run: (fs, _head, { handle }) => fs.fsyncdir(handle),
});
