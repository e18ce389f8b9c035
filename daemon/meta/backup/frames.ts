/**
 * A file of frames, the form of every backup of the metadata. All numbers little-endian.
 *
 *     0  magic "BFSMETA1"
 *     8  frames, each:  u32 bytes of the payload
 *                       u32 crc32 of kind and payload, continued from the frame before
 *                       u8  kind
 *                       payload, deflated (zlib)
 *
 * Because each checksum continues the one before, a frame that is damaged, missing, twice or out of place is noticed;
 * that the end is missing, by the frame of kind "end", which is the last.
 */
import { promisify } from "node:util";
import { crc32, deflate, inflate } from "node:zlib";
import { fail } from "../../../proto/errno.js";

export const MAGIC = Buffer.from("BFSMETA1", "latin1");

const KINDS = ["header", "rows", "batches", "end"] as const;
export type FrameKind = (typeof KINDS)[number];

export interface Frame {
  readonly kind: FrameKind;
  readonly payload: Buffer;
}

/** Bytes of a payload, deflated or not; a writer stays far below. */
const PAYLOAD_MAX = 64 * 1024 * 1024;
const HEAD = 9;
/** Fast: the disk or the network is what a backup waits for. */
const LEVEL = 3;

const deflated = promisify<Buffer, { level: number }, Buffer>(deflate);
const inflated = promisify<Buffer, { maxOutputLength: number }, Buffer>(inflate);

/** Frames as the bytes of a file. */
export async function* writeFrames(frames: AsyncIterable<Frame> | Iterable<Frame>): AsyncGenerator<Buffer> {
  let crc = 0;
  yield MAGIC;
  for await (const { kind, payload } of frames) {
    const body = await deflated(payload, { level: LEVEL });
    const head = Buffer.alloc(HEAD);
    head.writeUInt32LE(body.length, 0);
    head.writeUInt8(KINDS.indexOf(kind), 8);
    crc = crc32(body, crc32(head.subarray(8), crc));
    head.writeUInt32LE(crc, 4);
    yield Buffer.concat([head, body]);
  }
}

/** The frames of a file, each verified before it is given. EBADMSG when it is no such file, or is damaged or cut. */
export async function* readFrames(file: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  const bytes = new Bytes(file);
  const magic = await bytes.take(MAGIC.length);
  if (magic === undefined || !magic.equals(MAGIC)) fail("EBADMSG", "this is no backup of BigFS metadata");
  let crc = 0;
  for (;;) {
    const at = bytes.position;
    const head = await bytes.take(HEAD);
    if (head === undefined) fail("EBADMSG", `it is cut off at byte ${at}: its end is missing`);
    const length = head.readUInt32LE(0);
    const kind = KINDS[head.readUInt8(8)];
    if (kind === undefined || length > PAYLOAD_MAX) fail("EBADMSG", `it is damaged at byte ${at}`);
    const body = await bytes.take(length);
    if (body === undefined) fail("EBADMSG", `it is cut off within the block at byte ${at}`);
    crc = crc32(body, crc32(head.subarray(8), crc));
    if (crc !== head.readUInt32LE(4)) fail("EBADMSG", `it is damaged in the block at byte ${at}: bad checksum`);
    yield { kind, payload: await inflated(body, { maxOutputLength: PAYLOAD_MAX }) };
    if (kind === "end") break;
  }
  if ((await bytes.take(1)) !== undefined) fail("EBADMSG", "something follows its end");
}

/** A stream of buffers, taken in pieces of any size. */
class Bytes {
  readonly #source: AsyncIterator<Buffer>;
  #held: Buffer[] = [];
  #length = 0;
  #position = 0;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  get position(): number {
    return this.#position;
  }

  /** undefined: there are not so many any more. */
  async take(count: number): Promise<Buffer | undefined> {
    while (this.#length < count) {
      const next = await this.#source.next();
      if (next.done === true) return undefined;
      this.#held.push(next.value);
      this.#length += next.value.length;
    }
    const all = this.#held.length === 1 ? this.#held[0] : Buffer.concat(this.#held);
    const taken = all?.subarray(0, count) ?? Buffer.alloc(0);
    const rest = all?.subarray(count) ?? Buffer.alloc(0);
    this.#held = rest.length > 0 ? [rest] : [];
    this.#length = rest.length;
    this.#position += count;
    return taken;
  }
}
