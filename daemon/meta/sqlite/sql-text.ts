const FIRST_BYTES = 16 * 1024;

/** From so many bytes on, a call into native code is cheaper. */
const LONG = 64;

const HIGH = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0").charCodeAt(0));
const LOW = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0").charCodeAt(1));

/** Text that is written once and taken as a whole: many times cheaper than a string that is put together. */
export class SqlText {
  #bytes = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** `text` is ASCII. */
  write(text: string): void {
    this.#reserve(text.length);
    this.#length += this.#bytes.write(text, this.#length, "latin1");
  }

  /** A literal of latin1 text as bytes. */
  key(key: string): void {
    this.#reserve(2 * key.length + 3);
    const bytes = this.#bytes;
    let at = this.#open();
    for (let i = 0; i < key.length; i++) {
      const byte = key.charCodeAt(i);
      bytes[at++] = HIGH[byte] ?? 0;
      bytes[at++] = LOW[byte] ?? 0;
    }
    this.#close(at);
  }

  /** A literal of bytes. */
  value(value: Uint8Array): void {
    this.#reserve(2 * value.length + 3);
    const bytes = this.#bytes;
    let at = this.#open();
    if (value.length >= LONG) {
      const hex = Buffer.from(value.buffer, value.byteOffset, value.length).toString("hex");
      this.#close(at + bytes.write(hex, at, "latin1"));
      return;
    }
    for (let i = 0; i < value.length; i++) {
      const byte = value[i] ?? 0;
      bytes[at++] = HIGH[byte] ?? 0;
      bytes[at++] = LOW[byte] ?? 0;
    }
    this.#close(at);
  }

  /** Everything that was written since the last time. */
  take(): string {
    const text = this.#bytes.toString("latin1", 0, this.#length);
    this.#length = 0;
    return text;
  }

  #open(): number {
    this.#bytes[this.#length++] = 0x78; // x
    this.#bytes[this.#length++] = 0x27; // '
    return this.#length;
  }

  #close(at: number): void {
    this.#bytes[at] = 0x27;
    this.#length = at + 1;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, this.#length + count));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}
