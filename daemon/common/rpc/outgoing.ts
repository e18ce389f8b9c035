import type { Codec } from "./link.js";

/** Bytes of several messages that travel together, at most; one alone may be larger. */
const PACK_BYTES = 256 * 1024;
/** Protobuf: field 1, length-delimited. */
const TAG = 0x0a;

/** One encoded message that waits to be sent. */
export interface Waiting {
  readonly parts: readonly Uint8Array[];
  readonly bytes: number;
  /** Never packed: the handshake. */
  readonly raw: boolean;
}

/** Encodes now what may change later; payloads stay where they are. */
export function encoded<T>(codec: Codec<T>, message: T): Waiting {
  const parts = codec.parts?.(message) ?? [codec.encode(message)];
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  return { parts, bytes, raw: false };
}

/**
 * A message of the transport made of pieces. grpc-js takes the result of a serializer, reads `length` (or `byteLength`)
 * and calls `copy` to put it behind its own five bytes. Answering these three is enough for it, and saves copying every
 * payload twice.
 */
export class Outgoing {
  readonly length: number;
  /** Bytes of the messages alone. */
  readonly waitingBytes: number;

  constructor(
    private readonly messages: readonly Waiting[],
    private readonly packed: boolean,
  ) {
    let waiting = 0;
    let prefixes = 0;
    for (const { bytes } of messages) {
      waiting += bytes;
      if (packed) prefixes += 1 + varintLength(bytes);
    }
    this.waitingBytes = waiting;
    this.length = waiting + prefixes;
  }

  get byteLength(): number {
    return this.length;
  }

  copy(target: Buffer, start = 0): number {
    let at = start;
    for (const { parts, bytes } of this.messages) {
      if (this.packed) at = writePrefix(target, at, bytes);
      for (const part of parts) {
        target.set(part, at);
        at += part.length;
      }
    }
    return at - start;
  }
}

/** The next message of the transport, from the front of what waits. */
export function nextOutgoing(queue: Waiting[], packed: boolean): Outgoing {
  if (!packed || queue[0]?.raw === true) return new Outgoing(queue.splice(0, 1), false);
  let count = 0;
  let bytes = 0;
  for (const message of queue) {
    bytes += message.bytes;
    if (message.raw || (count > 0 && bytes > PACK_BYTES)) break;
    count++;
  }
  return new Outgoing(queue.splice(0, count), true);
}

/** The messages in one message of the transport, as views; throws RangeError when they do not stand there. */
export function unpack(bytes: Buffer, packed: boolean): Buffer[] {
  if (!packed) return [bytes];
  const messages: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] !== TAG) throw new RangeError(`byte ${at} of a message starts no frame`);
    const { value: length, next } = readVarint(bytes, at + 1);
    if (next + length > bytes.length) throw new RangeError(`a frame of ${length} bytes reaches past its message`);
    messages.push(bytes.subarray(next, next + length));
    at = next + length;
  }
  return messages;
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest > 127; rest >>>= 7) length++;
  return length;
}

function writePrefix(target: Buffer, start: number, bytes: number): number {
  let at = start;
  target[at++] = TAG;
  let rest = bytes;
  for (; rest > 127; rest >>>= 7) target[at++] = (rest & 127) | 128;
  target[at++] = rest;
  return at;
}

function readVarint(bytes: Buffer, start: number): { value: number; next: number } {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[start + i] ?? 128;
    value |= (byte & 127) << (7 * i);
    if (byte < 128) return { value, next: start + i + 1 };
  }
  throw new RangeError(`byte ${start} of a message is no length`);
}
