import type { Attr, ChunkPlace, SliceAt, SlotsReply } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Slice } from "../../../proto/gen/bigfs/v1/rows.js";

/** Slots of one file that are remembered; beyond that it starts anew. */
const SLOTS_MAX = 4096;

/** Slices of one slot; longer lists are asked for again, since the metadata daemon drops what is covered. */
const SLICES_MAX = 64;

/**
 * What a file consists of, as of one version: its size and the slices of some of its slots.
 *
 * Invariant: size and slices belong to the same version.
 */
export class SlotMap {
  version = 0;
  size = 0;
  truncSeq = 0;
  #slots = new Map<number, readonly Slice[]>();
  #places = new Map<number, ChunkPlace>();

  constructor(private readonly slotSize: number) {}

  /** Takes an answer; what was known of another version goes. */
  put(reply: SlotsReply): void {
    const { attr } = reply;
    if (attr === undefined || attr.version < this.version) return;
    const isFull = this.#slots.size + reply.count > SLOTS_MAX;
    if (attr.version !== this.version || isFull) this.clear();
    this.version = attr.version;
    this.size = attr.size;
    this.truncSeq = attr.truncSeq;
    const end = Math.min(reply.first + reply.count, Math.ceil(attr.size / this.slotSize));
    for (let slot = reply.first; slot < end; slot++) this.#slots.set(slot, []);
    for (const { slot, slices } of reply.slots) this.#slots.set(slot, slices);
    for (const place of reply.chunks) this.#places.set(place.chunk, place);
  }

  clear(): void {
    this.version = 0;
    this.size = 0;
    this.#slots.clear();
    this.#places.clear();
  }

  /** Whether the slots of bytes off..end are known, as far as the file goes. */
  covers(off: number, end: number): boolean {
    return this.version !== 0 && this.firstUnknown(off, end) === undefined;
  }

  /** The first slot of bytes off..end, as far as the file goes, that is not known. */
  firstUnknown(off: number, end: number): number | undefined {
    const first = Math.floor(off / this.slotSize);
    if (this.version === 0) return first;
    const stop = Math.min(end, this.size);
    for (let slot = first; slot * this.slotSize < stop; slot++) if (!this.#slots.has(slot)) return slot;
    return undefined;
  }

  knows(slot: number): boolean {
    return this.#slots.has(slot);
  }

  slices(slot: number): readonly Slice[] {
    return this.#slots.get(slot) ?? [];
  }

  place(chunk: number): ChunkPlace | undefined {
    return this.#places.get(chunk);
  }

  /** Own slices were committed, which made this version; nothing else has changed. */
  apply(attr: Attr, committed: readonly SliceAt[], places: readonly ChunkPlace[]): void {
    if (this.version === 0) return;
    for (const place of places) this.#places.set(place.chunk, place);
    const oldEnd = Math.ceil(this.size / this.slotSize);
    const newEnd = Math.ceil(attr.size / this.slotSize);
    if (this.#slots.size + newEnd - oldEnd > SLOTS_MAX) return this.clear();
    for (let slot = oldEnd; slot < newEnd; slot++) if (!this.#slots.has(slot)) this.#slots.set(slot, []);
    for (const { slot, slice } of committed) {
      const known = this.#slots.get(slot);
      if (known === undefined || slice === undefined) continue;
      if (known.length < SLICES_MAX) this.#slots.set(slot, [...known, slice]);
      else this.#slots.delete(slot);
    }
    this.version = Math.max(this.version, attr.version);
    this.size = attr.size;
    this.truncSeq = attr.truncSeq;
  }
}
