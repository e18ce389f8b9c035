/**
 * Messages of the chunk stream (store.proto): u32le length of the header, the header, then the payload to the end.
 * Payloads are not copied here: going out they are handed on as they are, coming in they are a view into the message.
 */
import type { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { fail } from "./errno.js";
import { ChunkReply, ChunkRequest } from "./gen/bigfs/v1/store.js";

/** A header with the bytes that belong to it; `payload` is empty when there are none. */
export interface ChunkMessage<H> {
  readonly header: H;
  readonly payload: Buffer;
}

export const NO_PAYLOAD: Buffer = Buffer.alloc(0);

export interface ChunkCodec<H> {
  /** One buffer; copies the payload. */
  encode(message: ChunkMessage<H>): Buffer;
  /** What stands one behind the other on the wire. The last is the payload itself: it must not change until it is sent. */
  parts(message: ChunkMessage<H>): readonly Uint8Array[];
  /** The payload is a view into `bytes`. EPROTO when they are not such a message. */
  decode(bytes: Buffer): ChunkMessage<H>;
}

interface HeaderCodec<H> {
  encode(header: H): BinaryWriter;
  decode(input: BinaryReader | Uint8Array, length?: number): H;
}

const PREFIX = 4;

function chunkCodec<H>(codec: HeaderCodec<H>): ChunkCodec<H> {
  const parts = ({ header, payload }: ChunkMessage<H>): readonly Uint8Array[] => {
    const head = codec.encode(header).finish();
    const prefix = Buffer.allocUnsafe(PREFIX);
    prefix.writeUInt32LE(head.length);
    return payload.length === 0 ? [prefix, head] : [prefix, head, payload];
  };
  return {
    parts,
    encode: (message) => Buffer.concat(parts(message)),
    decode: (bytes) => {
      const end = bytes.length < PREFIX ? Infinity : PREFIX + bytes.readUInt32LE(0);
      if (end > bytes.length) fail("EPROTO", "a chunk message is shorter than its header");
      return { header: codec.decode(bytes.subarray(PREFIX, end)), payload: bytes.subarray(end) };
    },
  };
}

export const chunkRequestCodec = chunkCodec<ChunkRequest>(ChunkRequest);
export const chunkReplyCodec = chunkCodec<ChunkReply>(ChunkReply);
