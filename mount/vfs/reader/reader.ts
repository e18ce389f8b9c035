import { overlay } from "../../../daemon/common/overlay.js";
import { FsError, errnoOf } from "../../../proto/errno.js";
import type { ChunkPlace } from "../../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../../proto/limits.js";
import { type Core, SELF, mustAttr } from "../core.js";
import type { FileState } from "../file-state.js";
import type { Maybe } from "../filesystem.js";
import { Backoff } from "../waiting.js";
import type { ChunkCache } from "./chunk-cache.js";
import type { ReadPattern } from "./read-ahead.js";
import { SlotMap } from "./slot-map.js";

/** Answers "there is no such chunk" or "it is broken" that are believed, each after asking for the slots anew. */
const LOST_MAX = 4;

/** Bytes of a chunk that belong at `at` of an answer. */
interface Wanted {
  readonly at: number;
  readonly place: ChunkPlace;
  readonly off: number;
  readonly len: number;
}

/** An answer in the making: everything but the wanted bytes is in place. */
interface Draft {
  readonly bytes: Buffer;
  readonly wanted: readonly Wanted[];
}

/**
 * Reads files: what was written here and is not committed, over the stored slices, over holes.
 *
 * Invariants:
 * - Size and slices of an answer are of one version, and of one that is not older than any attributes of the file that
 *   were told to the kernel before: so the kernel never fills up a short answer with zeros that nobody wrote.
 * - Own bytes and slices are looked at in one step: what a commit moves from here to there is in one of them.
 */
export class Reader {
  readonly #slotSize: number;
  readonly #aheadMax: number;
  #aheadBytes = 0;

  constructor(
    private readonly core: Core,
    private readonly cache: ChunkCache,
  ) {
    this.#slotSize = core.parts.meta.volume.chunkSize;
    this.#aheadMax = Math.floor(core.opts.cacheBytes / 2);
  }

  read(file: FileState, pattern: ReadPattern, off: number, size: number): Maybe<Buffer> {
    const window = pattern.note(off, Math.max(1, size));
    const isSequential = window !== undefined;
    const map = this.usable(file, off, off + size);
    if (map === undefined || file.writer.hasOlderThan(map.truncSeq))
      return this.#readSlowly(file, off, size, isSequential);
    if (window !== undefined) this.#readAhead(file, map, pattern, { end: off + size, window });
    const draft = this.#draft(file, map, off, size);
    return draft.wanted.length === 0 ? draft.bytes : this.#readSlowly(file, off, size, isSequential);
  }

  /** The slots of bytes off..end, asked for when they are not known. */
  async slots(file: FileState, off: number, end: number): Promise<SlotMap> {
    const { core } = this;
    const backoff = new Backoff(core.parts.clock, 1, core.opts.deadlines.reconnectMaxMs);
    const deadline = core.parts.clock.monotonicMs() + core.opts.deadlines.ioDeadlineMs;
    const asked = new SlotMap(this.#slotSize);
    for (;;) {
      const map = this.usable(file, off, end) ?? (this.#isCurrent(file, asked, off, end) ? asked : undefined);
      if (map !== undefined) return map;
      if (core.parts.clock.monotonicMs() >= deadline) throw new FsError("EIO", "the file changes all the time");
      if (!(await this.#ask(file, asked, off, end))) await backoff.wait();
    }
  }

  /** The slots as remembered, if they may be used for these bytes. */
  usable(file: FileState, off: number, end: number): SlotMap | undefined {
    const { slots, inode } = file;
    return this.core.inodes.isCached(inode) && this.#isCurrent(file, slots, off, end) ? slots : undefined;
  }

  /** Not older than anything that is known of the file, so that it has all that was committed here. */
  #isCurrent(file: FileState, map: SlotMap, off: number, end: number): boolean {
    return map.version >= file.inode.attr.version && map.version >= file.minVersion && map.covers(off, end);
  }

  /**
   * Asks for what is not known of these slots; an answer may stop short. False: it was older than what is known of the
   * file.
   */
  #ask(file: FileState, asked: SlotMap, off: number, end: number): Promise<boolean> {
    const { core } = this;
    const first = asked.firstUnknown(off, end) ?? Math.floor(off / this.#slotSize);
    const needed = Math.max(1, Math.floor(Math.max(off, end - 1) / this.#slotSize) - first + 1);
    const count = core.inodes.isCached(file.inode) ? Math.max(needed, LIMITS.slotsPerReply) : needed;
    return core.ask("slots", { ino: file.ino, first, count }, SELF, (reply, ticket) => {
      const attr = mustAttr(reply.attr);
      const known = file.inode.attr.version;
      core.inodes.absorb(attr, reply.cached, ticket);
      if (attr.version < known || attr.version < file.minVersion) return false;
      asked.put(reply);
      if (reply.cached && ticket.isFreshInode(file.ino)) file.slots.put(reply);
      return true;
    });
  }

  async #readSlowly(file: FileState, off: number, size: number, whole: boolean): Promise<Buffer> {
    const { clock } = this.core.parts;
    const { ioDeadlineMs, reconnectMinMs, reconnectMaxMs } = this.core.opts.deadlines;
    const deadline = clock.monotonicMs() + ioDeadlineMs;
    const backoff = new Backoff(clock, reconnectMinMs, reconnectMaxMs);
    for (let lost = 0; ;) {
      const map = await this.slots(file, off, off + size);
      // A commit may have come between.
      if (!this.#isCurrent(file, map, off, off + size)) continue;
      if (file.writer.hasOlderThan(map.truncSeq)) {
        // The file was cut since they were written: what is left of them only the metadata daemon knows.
        await file.writer.flush();
        continue;
      }
      const { generation } = file;
      const draft = this.#draft(file, map, off, size);
      try {
        await this.#fill(draft, whole);
        const isStable = generation === file.generation && !this.#isTooShort(file, off, size, draft);
        if (isStable || clock.monotonicMs() >= deadline) return draft.bytes;
      } catch (error) {
        // The slices may have been replaced and their chunks removed, or copies are elsewhere by now: look again.
        file.slots.clear();
        const errno = errnoOf(error);
        if (errno === "ENOENT" || errno === "EBADMSG") lost += 1;
        if (lost > LOST_MAX || clock.monotonicMs() >= deadline) {
          this.core.parts.log.error({ err: error, ino: file.ino, off, size }, "stored data cannot be read");
          throw new FsError("EIO", "stored data cannot be read", { cause: error });
        }
        await backoff.wait();
      }
    }
  }

  /** The file has grown while this was read, and the kernel may know that already. */
  #isTooShort(file: FileState, off: number, size: number, draft: Draft): boolean {
    return draft.bytes.length < size && file.size > off + draft.bytes.length;
  }

  #draft(file: FileState, map: SlotMap, off: number, size: number): Draft {
    const end = Math.min(off + size, Math.max(map.size, file.writer.endSince(map.truncSeq)));
    if (end <= off) return { bytes: Buffer.alloc(0), wanted: [] };
    const direct = this.#direct(file, map, off, end);
    if (direct !== undefined) return { bytes: direct, wanted: [] };
    const bytes = Buffer.allocUnsafe(end - off);
    const wanted: Wanted[] = [];
    for (const gap of file.writer.copyInto(bytes, off)) {
      const stop = Math.min(gap.pos + gap.len, map.size);
      for (let pos = gap.pos; pos < stop;) {
        const len = Math.min(stop - pos, this.#slotSize - (pos % this.#slotSize));
        this.#drawSlot(map, pos, len, bytes.subarray(pos - off, pos - off + len), pos - off, wanted);
        pos += len;
      }
      bytes.fill(0, Math.max(gap.pos, stop) - off, gap.pos + gap.len - off);
    }
    return { bytes, wanted };
  }

  /** The bytes without a copy, when they lie in one chunk at hand and nothing is over them. */
  #direct(file: FileState, map: SlotMap, off: number, end: number): Buffer | undefined {
    const pos = off % this.#slotSize;
    if (file.writer.isDirty || end > map.size || pos + end - off > this.#slotSize) return undefined;
    const slices = map.slices(Math.floor(off / this.#slotSize));
    const [only] = slices;
    if (slices.length !== 1 || only === undefined || only.chunk === 0) return undefined;
    if (only.pos > pos || only.pos + only.len < pos + end - off) return undefined;
    return this.cache.peek(only.chunk, only.off + pos - only.pos, end - off);
  }

  #drawSlot(map: SlotMap, filePos: number, len: number, target: Buffer, at: number, wanted: Wanted[]): void {
    const pos = filePos % this.#slotSize;
    for (const extent of overlay(map.slices(Math.floor(filePos / this.#slotSize)), pos, len)) {
      const part = target.subarray(extent.pos - pos, extent.pos - pos + extent.len);
      const { slice, skip } = extent;
      if (slice === undefined) part.fill(0);
      else if (slice.chunk === 0) slice.inline.copy(part, 0, skip, skip + extent.len);
      else {
        const known = this.cache.peek(slice.chunk, slice.off + skip, extent.len);
        if (known !== undefined) known.copy(part);
        else {
          const place = map.place(slice.chunk) ?? { chunk: slice.chunk, len: slice.off + slice.len, nodes: [] };
          wanted.push({ at: at + extent.pos - pos, place, off: slice.off + skip, len: extent.len });
        }
      }
    }
  }

  async #fill(draft: Draft, whole: boolean): Promise<void> {
    await Promise.all(
      draft.wanted.map(async ({ at, place, off, len }) => {
        const bytes = await this.cache.load(place, off, len, whole);
        bytes.copy(draft.bytes, at);
      }),
    );
  }

  /** Fetches whole chunks of the next slots in the background, as far as memory allows. */
  #readAhead(file: FileState, map: SlotMap, pattern: ReadPattern, at: { end: number; window: number }): void {
    const next = Math.floor((at.end - 1) / this.#slotSize) + 1;
    const stop = Math.min(next + at.window, Math.ceil(map.size / this.#slotSize));
    for (let slot = Math.max(next, pattern.ahead); slot < stop; slot++) {
      if (!map.knows(slot)) {
        this.#askAhead(file, pattern, slot);
        return;
      }
      for (const slice of map.slices(slot)) {
        const place = slice.chunk === 0 ? undefined : map.place(slice.chunk);
        if (place === undefined || this.cache.has(place.chunk) || !this.cache.canKeep(place.len)) continue;
        if (this.#aheadBytes + place.len > this.#aheadMax) return;
        this.#fetchAhead(place);
      }
      pattern.ahead = slot + 1;
    }
  }

  #askAhead(file: FileState, pattern: ReadPattern, slot: number): void {
    if (pattern.isAsking) return;
    pattern.isAsking = true;
    this.#ask(file, new SlotMap(this.#slotSize), slot * this.#slotSize, (slot + 1) * this.#slotSize)
      // Who reads it for real asks again and reports.
      .catch(() => {})
      .finally(() => {
        pattern.isAsking = false;
      });
  }

  #fetchAhead(place: ChunkPlace): void {
    this.#aheadBytes += place.len;
    this.cache
      .loadAhead(place)
      // Who reads it for real tries again and reports.
      .catch(() => {})
      .finally(() => {
        this.#aheadBytes -= place.len;
      });
  }
}
