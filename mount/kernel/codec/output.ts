const TWO_32 = 0x1_0000_0000;

/** Bytes of every answer's header: length, error, unique. */
export const OUT_HEADER = 16;

/**
 * Where answers are written. One output serves all answers: each is written to the kernel before the next begins.
 * The first OUT_HEADER bytes are the header, which `finish` fills.
 */
export class Output {
  readonly bytes: Buffer;
  length = OUT_HEADER;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  begin(): this {
    this.length = OUT_HEADER;
    return this;
  }

  u16(value: number): this {
    this.length = this.bytes.writeUInt16LE(value, this.length);
    return this;
  }

  u32(value: number): this {
    this.length = this.bytes.writeUInt32LE(value >>> 0, this.length);
    return this;
  }

  u64(value: number): this {
    this.bytes.writeUInt32LE(value % TWO_32, this.length);
    this.length = this.bytes.writeUInt32LE(Math.floor(value / TWO_32), this.length + 4);
    return this;
  }

  /** Also negative ones, as two's complement. */
  i64(value: number): this {
    const high = Math.floor(value / TWO_32);
    this.bytes.writeUInt32LE(value - high * TWO_32, this.length);
    this.length = this.bytes.writeInt32LE(high, this.length + 4);
    return this;
  }

  zeros(count: number): this {
    this.bytes.fill(0, this.length, this.length + count);
    this.length += count;
    return this;
  }

  /** A string of bytes (latin1). */
  latin1(value: string): this {
    this.length += this.bytes.write(value, this.length, "latin1");
    return this;
  }

  raw(value: Buffer): this {
    this.length += value.copy(this.bytes, this.length);
    return this;
  }

  /** Completes the header; `body` bytes follow what is written here. `error`: a positive errno number, or 0. */
  finish(unique: { readonly low: number; readonly high: number }, error: number, body: number): this {
    this.bytes.writeUInt32LE(this.length + body, 0);
    this.bytes.writeInt32LE(-error, 4);
    this.bytes.writeUInt32LE(unique.low, 8);
    this.bytes.writeUInt32LE(unique.high, 12);
    return this;
  }
}
