/** Positions, lengths and memory of what goes around the page cache are multiples of this: no disk has larger blocks. */
export const ALIGNMENT = 4096;
/** A page of WebAssembly. */
const WASM_PAGE = 64 * 1024;

/** Node has it; TypeScript declares it for browsers only. */
declare const WebAssembly: {
  readonly Memory: new (size: { initial: number; maximum: number }) => { buffer: ArrayBuffer };
};

/**
 * Buffers that are aligned as the kernel asks for it of reads and writes around its page cache, which Node's are not, but
 * WebAssembly's memory is. They are made when they are first needed, and used again and again.
 */
export class AlignedSlots {
  readonly #free: Buffer[] = [];
  readonly #pages: number;
  #made = 0;
  #memory: ArrayBuffer | undefined;

  /** `bytes` of each: whole pages of WebAssembly. */
  constructor(
    private readonly count: number,
    readonly bytes: number,
  ) {
    this.#pages = (count * bytes) / WASM_PAGE;
  }

  /** undefined: all are taken. */
  take(): Buffer | undefined {
    const free = this.#free.pop();
    if (free !== undefined || this.#made === this.count) return free;
    this.#memory ??= new WebAssembly.Memory({ initial: this.#pages, maximum: this.#pages }).buffer;
    return Buffer.from(this.#memory, this.bytes * this.#made++, this.bytes);
  }

  give(slot: Buffer): void {
    this.#free.push(slot);
  }
}
