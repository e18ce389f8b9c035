import type { FsError } from "../../../proto/errno.js";

/** How messages of one direction of a stream become bytes. `decode` may keep views into the buffer that it was given. */
export interface Codec<T> {
  encode(message: T): Buffer;
  /** The same bytes in pieces that are copied only into the transport's own buffer; they must not change until then. */
  parts?(message: T): readonly Uint8Array[];
  decode(bytes: Buffer): T;
}

/** A bidirectional gRPC method. */
export interface StreamKind<Request, Reply> {
  /** "/bigfs.v1.Meta/Session" */
  readonly path: string;
  readonly request: Codec<Request>;
  readonly reply: Codec<Reply>;
  /**
   * Many small messages: those that wait for the transport at the same time travel together in one message of it, as
   * `repeated bytes` field 1 of a protobuf message.
   */
  readonly packed?: boolean;
}

/** What the handshake told about the other side. */
export interface Peer {
  readonly role: string;
  readonly volume: string;
  readonly incarnation: number;
  readonly protocol: number;
  /** HOST:PORT of the other end, for logs. */
  readonly address: string;
  /** Its wall time when it greeted, in milliseconds; undefined: only who was called tells it. */
  readonly clockMs: number | undefined;
}

export interface LinkEvents<In> {
  message(message: In): void;
  /** Exactly once, also after a local close(). Nothing follows it. */
  closed(reason: FsError): void;
}

/** One authenticated stream, seen from one end. */
export interface Link<Out, In> {
  readonly peer: Peer;
  /** Starts delivery; what arrived before was kept. */
  open(events: LinkEvents<In>): void;
  /** Never throws and never waits; dropped when the link is closed. */
  send(message: Out): void;
  /** True while more than the high-water mark waits to be written: stop sending and await `drained()`. */
  readonly congested: boolean;
  /** Resolves when not congested, or closed. */
  drained(): Promise<void>;
  /** Stops reading, so that the other side becomes congested; what is on its way may still be delivered. */
  pause(): void;
  /** Reads on. */
  resume(): void;
  close(reason?: FsError): void;
}
