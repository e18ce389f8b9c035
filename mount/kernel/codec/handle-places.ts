import { IN_HEADER } from "./header.js";
import { OPCODE } from "./opcodes.js";

/** A handle in a message. */
export interface HandlePlace {
  readonly at: number;
  /** Where the number of its inode stands; undefined: it is the node that the message is about. */
  readonly nodeAt?: number;
  readonly isFolder: boolean;
}

const FILE: readonly HandlePlace[] = [{ at: IN_HEADER, isFolder: false }];
const FOLDER: readonly HandlePlace[] = [{ at: IN_HEADER, isFolder: true }];
const COPY: readonly HandlePlace[] = [...FILE, { at: IN_HEADER + 24, nodeAt: IN_HEADER + 16, isFolder: false }];
const NONE: readonly HandlePlace[] = [];

const { read, write, release, fsync, flush, fallocate, lseek, getlk, setlk, setlkw } = OPCODE;
const { readdir, readdirplus, releasedir, fsyncdir, copyFileRange, copyFileRange64 } = OPCODE;

const PLACES = new Map<number, readonly HandlePlace[]>([
  ...[read, write, release, fsync, flush, fallocate, lseek, getlk, setlk, setlkw].map((op) => [op, FILE] as const),
  ...[readdir, readdirplus, releasedir, fsyncdir].map((op) => [op, FOLDER] as const),
  ...[copyFileRange, copyFileRange64].map((op) => [op, COPY] as const),
]);

/** The handles without which a request cannot be served. (Those of GETATTR and SETATTR are only a help.) */
export function handlesIn(opcode: number): readonly HandlePlace[] {
  return PLACES.get(opcode) ?? NONE;
}
