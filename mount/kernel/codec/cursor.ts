import { fail } from "../../../proto/errno.js";
import { numberOf } from "./handle.js";
import { checkedName, nameOf, type Name } from "../../../proto/name.js";

const TWO_32 = 0x1_0000_0000;

/**
 * Reads a message from front to back; little endian, as every machine is that BigFS runs on. What is shorter than it
 * must be is EINVAL. One cursor serves all requests: nothing may keep it, nor the views that bytes() gives.
 */
export class Cursor {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;

  reset(bytes: Buffer, start: number, end: number): this {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    return this;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  skip(count: number): this {
    this.#step(count);
    return this;
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#step(4));
  }

  /** Exact below 2^53; above it is rounded, but still above. */
  u64(): number {
    const at = this.#step(8);
    return this.#bytes.readUInt32LE(at + 4) * TWO_32 + this.#bytes.readUInt32LE(at);
  }

  /** The filesystem's number of a handle. */
  handle(): number {
    const at = this.#step(8);
    return numberOf({ low: this.#bytes.readUInt32LE(at), high: this.#bytes.readUInt32LE(at + 4) });
  }

  /** 64 bits that only name something, in hexadecimal. */
  id(): string {
    const at = this.#step(8);
    return this.#bytes.readBigUInt64LE(at).toString(16);
  }

  /** Seconds before 1970 are negative. */
  i64(): number {
    const at = this.#step(8);
    return this.#bytes.readInt32LE(at + 4) * TWO_32 + this.#bytes.readUInt32LE(at);
  }

  /** A name that ends with NUL. */
  name(): Name {
    return checkedName(this.#text());
  }

  /** The name of an extended attribute: dots and slashes are like any other byte. */
  xattrName(): Name {
    const bytes = this.#text();
    if (bytes.length > 255) fail("ERANGE");
    return nameOf(bytes);
  }

  /** Bytes that end with NUL, as a copy. */
  text(): Buffer {
    return Buffer.from(this.#text());
  }

  /** A view that is valid only during this request's call. */
  bytes(count: number): Buffer {
    const at = this.#step(count);
    return this.#bytes.subarray(at, at + count);
  }

  #text(): Buffer {
    const zero = this.#bytes.indexOf(0, this.#at);
    if (zero < 0 || zero >= this.#end) fail("EINVAL", "a name has no end");
    const found = this.#bytes.subarray(this.#at, zero);
    this.#at = zero + 1;
    return found;
  }

  #step(count: number): number {
    const at = this.#at;
    if (at + count > this.#end) fail("EINVAL", "a message is too short");
    this.#at = at + count;
    return at;
  }
}
