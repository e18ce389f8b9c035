import type { Listed } from "../../vfs/filesystem.js";
import { ENTRY_BYTES, writeEntry } from "./attributes.js";
import type { Output } from "./output.js";

const DIRENT_BYTES = 24;
const FORMAT_SHIFT = 12;

function padded(length: number): number {
  return (length + 7) & ~7;
}

function writeDirent(out: Output, entry: Listed): void {
  const { name } = entry;
  out
    .u64(entry.ino)
    .u64(entry.cookie)
    .u32(name.length)
    .u32(entry.type >>> FORMAT_SHIFT);
  out.latin1(name).zeros(padded(name.length) - name.length);
}

/** fuse_dirent; false, and nothing written, when it would pass `end`. */
export function addEntry(out: Output, entry: Listed, end: number): boolean {
  if (out.length + DIRENT_BYTES + padded(entry.name.length) > end) return false;
  writeDirent(out, entry);
  return true;
}

/** fuse_direntplus; false, and nothing written, when it would pass `end`. */
export function addEntryPlus(out: Output, entry: Listed, end: number): boolean {
  if (out.length + ENTRY_BYTES + DIRENT_BYTES + padded(entry.name.length) > end) return false;
  writeEntry(out, counts(entry) ? entry.found : undefined);
  writeDirent(out, entry);
  return true;
}

/** Whether the kernel takes a reference to the inode of this entry. It ignores what is told of "." and "..". */
export function counts(entry: Listed): boolean {
  return entry.found?.attr !== undefined && entry.name !== "." && entry.name !== "..";
}

/** Where fuse_entry_out has its entry_valid and entry_valid_nsec. */
const VALID_AT = 16;
const VALID_NSEC_AT = 32;

/** The names of these entries (each begins at an offset of `starts`) are looked up before they are used. */
export function expireEntries(out: Output, starts: readonly number[]): void {
  for (const start of starts) {
    out.bytes.fill(0, start + VALID_AT, start + VALID_AT + 8);
    out.bytes.fill(0, start + VALID_NSEC_AT, start + VALID_NSEC_AT + 4);
  }
}
