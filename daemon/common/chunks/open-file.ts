import * as fs from "node:fs";
import { promisify } from "node:util";

export interface Range {
  readonly off: number;
  readonly len: number;
}

export interface OpenFile {
  /** The bytes of the range, fewer where the file ends. */
  read(range: Range): Promise<Buffer>;
  /** Nobody reads any more. */
  close(): void;
}

// Bare descriptors: a FileHandle for each chunk costs more than all else that is done with its file here.
const open = promisify(fs.open);
const read = promisify(fs.read);

const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = fs.constants;

/** Opens a file for reading, without waiting for anything that is not a file. Rejects with Node's system errors. */
export async function openFile(path: string): Promise<OpenFile> {
  const file = await open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
  // Not in this thread: when the file was deleted meanwhile, this is what frees its blocks.
  return { read: (range) => readAll(file, range), close: () => fs.close(file, () => {}) };
}

/** The bytes of the range of an open file, fewer where it ends. */
export async function readAll(file: number, range: Range): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(range.len);
  let got = 0;
  while (got < range.len) {
    const { bytesRead } = await read(file, bytes, got, range.len - got, range.off + got);
    if (bytesRead === 0) break;
    got += bytesRead;
  }
  return bytes.subarray(0, got);
}
