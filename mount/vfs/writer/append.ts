import { errnoOf } from "../../../proto/errno.js";
import type { SliceAt } from "../../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../../proto/limits.js";
import { type Core, SELF, mustAttr } from "../core.js";
import type { FileWriterHost, FileWriterParts } from "./file-writer.js";
import { mergeInline } from "./merge-inline.js";

/** Tries to append what is tiny together with what is tiny before it, while others change the file. */
const MERGES = 3;

/**
 * Adds bytes to a file behind all that it has when they are committed, whoever has written that (O_APPEND with several
 * writers). They come together. Resolves with where they are.
 */
export async function append({ core, uploader }: FileWriterParts, host: FileWriterHost, data: Buffer): Promise<number> {
  const slotSize = core.parts.meta.volume.chunkSize;
  // A file that is lost in the middle of it is told by the answer to the commit.
  const { signal } = new AbortController();
  const store = (bytes: Buffer, sync: boolean) => uploader.store(bytes, { sync, signal, replicas: host.replicas });
  const commit = (where: Where) => commitAt(core, host, data.length, where);
  if (data.length <= LIMITS.inlineMax) {
    try {
      return await commit({ slices: placed(data, 0, slotSize) });
    } catch (error) {
      if (errnoOf(error) !== "EFBIG") throw error;
    }
    // What stands in the metadata is on disk, and stays so.
    const file = { ino: host.ino, slotSize, store: (bytes: Buffer) => store(bytes, true) };
    for (let tries = 0; tries < MERGES; tries++) {
      const { size, version, truncSeq } = await core.ask("getattr", { ino: host.ino }, SELF, ({ attr }) =>
        mustAttr(attr),
      );
      const { slices, ifVersion } = await mergeInline(core, file, placed(data, size, slotSize));
      if (ifVersion !== version) continue;
      try {
        return await commit({ slices, at: { size, version, truncSeq } });
      } catch (error) {
        if (errnoOf(error) !== "EBUSY") throw error;
      }
    }
  }
  const slices: SliceAt[] = [];
  for (let off = 0; off < data.length; off += slotSize) {
    const bytes = data.subarray(off, off + slotSize);
    const slice = { pos: 0, len: bytes.length, chunk: await store(bytes, false), off: 0, inline: Buffer.alloc(0) };
    slices.push({ slot: off / slotSize, slice });
  }
  return commit({ slices });
}

/** `at` undefined: the slices are counted from where the file ends; otherwise it must be of this version. */
interface Where {
  readonly slices: SliceAt[];
  readonly at?: { readonly size: number; readonly version: number; readonly truncSeq: number };
}

function commitAt(core: Core, host: FileWriterHost, length: number, { slices, at }: Where): Promise<number> {
  const request = {
    ino: host.ino,
    slices,
    sizeAtLeast: at === undefined ? 0 : at.size + length,
    mtime: core.parts.meta.now(),
    truncSeq: at?.truncSeq ?? 0,
    append: at === undefined,
    sync: false,
    ifVersion: at?.version,
    set: undefined,
    setAt: undefined,
  };
  return core.ask("commit", request, SELF, (reply, ticket) => {
    host.appended(reply, ticket);
    return mustAttr(reply.attr).size - length;
  });
}

/** The bytes as inline slices from this position on. */
function placed(data: Buffer, from: number, slotSize: number): SliceAt[] {
  const here = Math.min(data.length, slotSize - (from % slotSize));
  const slice = { pos: from % slotSize, len: here, chunk: 0, off: 0, inline: data.subarray(0, here) };
  const first = { slot: Math.floor(from / slotSize), slice };
  return here === data.length ? [first] : [first, ...placed(data.subarray(here), from + here, slotSize)];
}
