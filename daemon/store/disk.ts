import * as fs from "node:fs";
import { mkdir, readdir, rm, stat, statfs } from "node:fs/promises";
import { promisify } from "node:util";
import { openFile, readAll, type OpenFile, type Range } from "../common/chunks/open-file.js";
import type { DurableDisk } from "../common/durable.js";
import { FsError } from "../../proto/errno.js";
import { DirectReads } from "./direct-read.js";
import { DirectWrites } from "./direct-write.js";

/** A file that was just written, open until it is closed, whatever name it has by then. */
export interface WrittenFile {
  /** Fsyncs it: rejects also when something that was written before could not be. */
  sync(): Promise<void>;
  /** Once, when no `sync` is under way. */
  close(): void;
}

export interface ReadHow {
  /** From the disk itself, where its filesystem allows that, not from memory; then there is one range, from the start on. */
  readonly fromDisk: boolean;
}

/**
 * Everything that a store does with its disk; tests fail exactly one call of it, or cut its power. Paths are absolute.
 * Rejects with Node's system errors (`code`). `write` makes a new file or replaces one, not atomically.
 */
export interface Disk extends DurableDisk {
  /** `write` that leaves the file open; closed when this rejects. */
  create(path: string, parts: readonly Uint8Array[]): Promise<WrittenFile>;
  /** Adds to the end of a file, which it makes. */
  append(path: string, bytes: Buffer): Promise<void>;
  /** The bytes of each range, fewer where the file ends. */
  read(path: string, ranges: readonly Range[], how?: ReadHow): Promise<Buffer[]>;
  /** Opens a file for reading, until it is closed. */
  open(path: string): Promise<OpenFile>;
  /** Bytes of the file. */
  size(path: string): Promise<number>;
  /** Names in a folder. */
  list(folder: string): Promise<string[]>;
  /** Nothing when it is there. */
  makeFolder(path: string): Promise<void>;
  /** Bytes that this process may still write on the disk of that folder. */
  free(folder: string): Promise<number>;
}

// Bare descriptors: a FileHandle for each chunk costs more than all else that is done with its file here.
const open = promisify(fs.open);
const close = promisify(fs.close);
const write = promisify(fs.write);
const writev = promisify(fs.writev);
const fsync = promisify(fs.fsync);
const rename = promisify(fs.rename);

/** The machine's disk. */
export const nodeDisk: Disk = {
  create,
  write: (path, parts) => withFile(path, "w", (file) => writeAll(file, parts)),
  append: (path, bytes) => withFile(path, "a", (file) => writeAll(file, [bytes])),
  async read(path, ranges, how) {
    const [range] = ranges;
    const read = how?.fromDisk === true && range !== undefined ? await directReads.read(path, range) : undefined;
    if (read !== undefined) return [read];
    return lookingAt(path, async (file) => {
      const reads = ranges.map((range) => readAll(file, range));
      // When one fails, the descriptor stays open until the others are done with it.
      await Promise.allSettled(reads);
      return Promise.all(reads);
    });
  },
  open: openFile,
  async size(path) {
    return (await stat(path)).size;
  },
  sync: (path) => lookingAt(path, fsync),
  rename,
  remove: (path) => rm(path),
  list: (folder) => readdir(folder),
  async makeFolder(path) {
    await mkdir(path, { recursive: true });
  },
  async free(folder) {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  },
};

const directWrites = new DirectWrites();
const directReads = new DirectReads();

async function create(path: string, parts: readonly Uint8Array[]): Promise<WrittenFile> {
  const file = await open(path, "w");
  let isClean = false;
  const written: WrittenFile = {
    async sync() {
      await fsync(file);
      isClean = true;
    },
    close() {
      if (isClean) fs.closeSync(file);
      // Not in this thread: some filesystems write then, and when the file was removed this frees its blocks.
      else fs.close(file, () => {});
    },
  };
  try {
    await writeAll(file, parts, await directWrites.write(path, parts));
  } catch (error) {
    written.close();
    throw error;
  }
  return written;
}

async function withFile<T>(path: string, flags: string, use: (file: number) => Promise<T>): Promise<T> {
  const file = await open(path, flags);
  try {
    return await use(file);
  } finally {
    await close(file);
  }
}

/** For a file that is only read: closing it writes nothing, so that it need not wait for a thread. */
async function lookingAt<T>(path: string, use: (file: number) => Promise<T>): Promise<T> {
  const file = await open(path, "r");
  try {
    return await use(file);
  } finally {
    fs.closeSync(file);
  }
}

/** `done`: so many bytes are there already. */
async function writeAll(file: number, parts: readonly Uint8Array[], done = 0): Promise<void> {
  const there = done > 0 ? done : (await writev(file, parts)).bytesWritten;
  let start = 0;
  for (const part of parts) {
    // A disk that is almost full takes only some of it; the next write then says why.
    for (let at = Math.max(0, there - start); at < part.length;) {
      // What is appended goes to the end wherever it is said to go.
      at += (await write(file, part, at, part.length - at, start + at)).bytesWritten;
    }
    start += part.length;
  }
}

/** A system error of the disk as ours: ENOSPC and ENOENT as they are, everything else EIO. */
export function diskError(error: unknown, what: string): FsError {
  if (error instanceof FsError) return error;
  const code = codeOf(error);
  const detail = `${what}: ${error instanceof Error ? error.message : String(error)}`;
  if (code === "ENOSPC" || code === "EDQUOT") return new FsError("ENOSPC", detail, { cause: error });
  if (code === "ENOENT") return new FsError("ENOENT", detail, { cause: error });
  return new FsError("EIO", detail, { cause: error });
}

/** The name of a system error. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}
