import type { Maybe } from "../vfs/filesystem.js";
import { handlesIn, type HandlePlace } from "./codec/handle-places.js";
import { halvesOf, isTagOf, mayWrite, tagIn, tagOf } from "./codec/handle.js";
import type { Head } from "./codec/header.js";
import { OPCODE } from "./codec/opcodes.js";

/** What the filesystem does for what the kernel has of a process that died. Each rejects with an FsError. */
export interface Successor {
  /** The kernel knows this inode and asks about it. */
  adopt(ino: number): Maybe<void>;
  /** Opens a file as it was open there; the handle. */
  reopen(ino: number, write: boolean): Maybe<number>;
  reopendir(ino: number): Maybe<number>;
}

const { forget, batchForget, interrupt, destroy, release, releasedir, read, write } = OPCODE;
/** Nothing has to be known of their node, or they hold its pages, which cannot be dropped before they are answered. */
const NOT_ADOPTED: ReadonlySet<number> = new Set([
  ...[forget, batchForget, interrupt, destroy, release, releasedir],
  ...[read, write],
]);

/**
 * Requests about inodes and handles that the kernel has from a process that served this mount before. The inode is
 * adopted at the first of them; the handle is opened again at its first, and its new number stands in the message
 * before anybody reads it.
 */
export class Inherited {
  readonly #successor: Successor;
  readonly #generation: number;
  readonly #nodes = new Set<number>();
  readonly #handles = new Map<bigint, Maybe<number>>();

  constructor(successor: Successor, generation: number) {
    this.#successor = successor;
    this.#generation = generation;
  }

  /**
   * Undefined: the message can be served. A promise: it can be asked again when that has resolved; rejects with what it
   * is to be answered with. "over": there is nothing to do for it.
   */
  claim(head: Head, message: Buffer): Promise<unknown> | "over" | undefined {
    const waits: Promise<unknown>[] = [];
    if (!NOT_ADOPTED.has(head.opcode) && !this.#nodes.has(head.node)) {
      this.#nodes.add(head.node);
      const adopted = this.#successor.adopt(head.node);
      // What is not there is told by what is asked about it.
      if (adopted instanceof Promise) waits.push(adopted.catch(() => undefined));
    }
    for (const place of handlesIn(head.opcode)) {
      if (isTagOf(this.#generation, tagIn(message.readUInt32LE(place.at + 4)))) continue;
      const old = message.readBigUInt64LE(place.at);
      const isLast = head.opcode === release || head.opcode === releasedir;
      if (isLast && !this.#handles.has(old)) return "over";
      const handle = this.#handles.get(old) ?? this.#reopen(old, head, message, place);
      if (handle instanceof Promise) {
        waits.push(handle);
        continue;
      }
      if (isLast) this.#handles.delete(old);
      put(message, place, halvesOf(handle, tagOf(this.#generation, false)));
    }
    return waits.length === 0 ? undefined : Promise.all(waits);
  }

  #reopen(old: bigint, head: Head, message: Buffer, { at, nodeAt, isFolder }: HandlePlace): Maybe<number> {
    const ino = nodeAt === undefined ? head.node : Number(message.readBigUInt64LE(nodeAt));
    const write = mayWrite(tagIn(message.readUInt32LE(at + 4)));
    const opened = isFolder ? this.#successor.reopendir(ino) : this.#successor.reopen(ino, write);
    if (!(opened instanceof Promise)) {
      this.#handles.set(old, opened);
      return opened;
    }
    const handle = opened.then(
      (number) => {
        this.#handles.set(old, number);
        return number;
      },
      (error: unknown) => {
        this.#handles.delete(old);
        throw error;
      },
    );
    this.#handles.set(old, handle);
    return handle;
  }
}

function put(message: Buffer, { at }: HandlePlace, { low, high }: { low: number; high: number }): void {
  message.writeUInt32LE(low, at);
  message.writeUInt32LE(high, at + 4);
}
