import type { ExplainFile, FileExplained } from "../../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../../proto/limits.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { attrOf, mustInode } from "./inodes.js";
import { isFile } from "./modes.js";
import { readSlots } from "./read-slots.js";
import { preloadChunks } from "./replicas.js";

/** Where the bytes of a file are, for whoever administers it. Of what is no file, the attributes alone. */
export function explain(tx: Tx, { ino, first }: ExplainFile): FileExplained {
  const inode = mustInode(tx, ino);
  if (!isFile(inode)) return { attr: attrOf(inode), slots: [], chunks: [], next: 0 };
  const found = readSlots(tx, inode, { first, count: LIMITS.slotsPerReply });
  const end = first + found.count;
  const ids = new Set(found.slots.flatMap(({ slices }) => slices.map(({ chunk }) => chunk)));
  ids.delete(0);
  preloadChunks(tx, ids);
  return {
    attr: attrOf(inode),
    slots: found.slots.map(({ slot, slices }) => ({
      slot,
      slices: slices.map((slice) => ({ ...slice, inline: Buffer.alloc(0) })),
    })),
    chunks: [...ids].flatMap((id) => tx.get(key.chunk(id)) ?? []),
    next: end < inode.slotEnd ? end : 0,
  };
}
