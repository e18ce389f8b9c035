/** What is known of a chunk without looking at its file. */
export interface Entry {
  /** Bytes of data. */
  readonly len: number;
  readonly crc: number;
  /** Its file and its name are fsynced. */
  readonly synced: boolean;
  /** Its file was not looked at whole since an unclean stop. */
  readonly unverified: boolean;
}

const SYNCED = 1;
const UNVERIFIED = 2;
const EMPTY = -1;
const GONE = -2;

/**
 * Map from chunk id to Entry that takes 17 bytes for each place, so that millions of chunks fit: open addressing with
 * linear probing; at most two thirds of the places are used.
 */
export class ChunkIndex {
  #ids = new Float64Array(1024).fill(EMPTY);
  #lens = new Uint32Array(1024);
  #crcs = new Uint32Array(1024);
  #flags = new Uint8Array(1024);
  #size = 0;
  /** Places that were ever used since the last growth. */
  #taken = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): Entry | undefined {
    const at = this.#find(id);
    if (at < 0) return undefined;
    const flags = this.#flags[at] ?? 0;
    return {
      len: this.#lens[at] ?? 0,
      crc: this.#crcs[at] ?? 0,
      synced: (flags & SYNCED) !== 0,
      unverified: (flags & UNVERIFIED) !== 0,
    };
  }

  has(id: number): boolean {
    return this.#find(id) >= 0;
  }

  set(id: number, entry: Entry): void {
    let at = this.#find(id);
    if (at < 0) {
      if ((this.#taken + 1) * 3 > this.#ids.length * 2) this.#rebuild();
      at = this.#free(id);
      if (this.#ids[at] === EMPTY) this.#taken++;
      this.#size++;
      this.#ids[at] = id;
    }
    this.#lens[at] = entry.len;
    this.#crcs[at] = entry.crc;
    this.#flags[at] = (entry.synced ? SYNCED : 0) | (entry.unverified ? UNVERIFIED : 0);
  }

  delete(id: number): boolean {
    const at = this.#find(id);
    if (at < 0) return false;
    this.#ids[at] = GONE;
    this.#size--;
    return true;
  }

  /** All ids from <= id < to, growing; a copy. */
  sortedIds(from = 0, to = Infinity): Float64Array {
    return this.#ids.filter((id) => id >= from && id < to).sort();
  }

  #find(id: number): number {
    for (let at = this.#start(id); ; at = this.#next(at)) {
      const there = this.#ids[at];
      if (there === id) return at;
      if (there === EMPTY) return -1;
    }
  }

  #free(id: number): number {
    let at = this.#start(id);
    while ((this.#ids[at] ?? EMPTY) >= 0) at = this.#next(at);
    return at;
  }

  #start(id: number): number {
    const low = id % 0x1_0000_0000;
    const high = Math.floor(id / 0x1_0000_0000);
    return (Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b)) >>> this.#shift;
  }

  get #shift(): number {
    return Math.clz32(this.#ids.length) + 1;
  }

  #next(at: number): number {
    return (at + 1) & (this.#ids.length - 1);
  }

  /** Doubles the places, or only clears those of deleted chunks when that is enough. */
  #rebuild(): void {
    const [ids, lens, crcs, flags] = [this.#ids, this.#lens, this.#crcs, this.#flags];
    const places = this.#size * 3 > ids.length ? ids.length * 2 : ids.length;
    this.#ids = new Float64Array(places).fill(EMPTY);
    this.#lens = new Uint32Array(places);
    this.#crcs = new Uint32Array(places);
    this.#flags = new Uint8Array(places);
    this.#taken = this.#size;
    ids.forEach((id, from) => {
      if (id < 0) return;
      const at = this.#free(id);
      this.#ids[at] = id;
      this.#lens[at] = lens[from] ?? 0;
      this.#crcs[at] = crcs[from] ?? 0;
      this.#flags[at] = flags[from] ?? 0;
    });
  }
}
