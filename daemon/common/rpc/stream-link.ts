import type { Duplex } from "node:stream";
import { FsError } from "../../../proto/errno.js";
import type { Conversation } from "./handshake.js";
import type { Codec, Link, LinkEvents, Peer } from "./link.js";
import { encoded, nextOutgoing, unpack, type Waiting } from "./outgoing.js";

/** Above the first a sender should wait, until it is below the second. */
const CONGESTED_BYTES = 4 * 1024 * 1024;
const DRAINED_BYTES = 1024 * 1024;

export interface StreamLinkOptions<Out, In> {
  readonly out: Codec<Out>;
  readonly in: Codec<In>;
  readonly packed: boolean;
  /** HOST:PORT of the other end. */
  readonly address: string;
  /** Ends the stream after what was written; with a reason: tells it to the other side, if that can be done. */
  readonly finish: (reason: FsError | undefined) => void;
}

/**
 * One end of a gRPC stream: first a conversation (the handshake), then a Link.
 *
 * Invariants:
 * - One message of the transport is being written at a time; what is sent meanwhile gathers and, on packed kinds,
 *   travels together. So batches form by themselves under load and nothing waits without it.
 * - `#ended` is set once; from then on nothing is written, and nothing delivered but what the other side sent before it
 *   ended.
 */
export class StreamLink<Out, In> implements Link<Out, In> {
  #peer: Peer | undefined;
  #events: LinkEvents<In> | undefined;
  #ended: FsError | undefined;
  #isClosedHere = false;
  #isClosedTold = false;
  #isPaused = false;
  /** What came before somebody wanted it. */
  readonly #inbox: Buffer[] = [];
  #hearing: { resolve(bytes: Buffer): void; reject(error: FsError): void } | undefined;
  readonly #queue: Waiting[] = [];
  #bufferedBytes = 0;
  #isWriting = false;
  #isScheduled = false;
  #drainWaiters: (() => void)[] = [];

  constructor(
    private readonly stream: Duplex,
    private readonly opts: StreamLinkOptions<Out, In>,
  ) {
    stream.on("data", (bytes: Buffer) => this.#received(bytes));
  }

  get peer(): Peer {
    if (this.#peer === undefined) throw new Error("a link without a handshake");
    return this.#peer;
  }

  get isEstablished(): boolean {
    return this.#peer !== undefined;
  }

  /** The handshake: raw messages, one at a time. */
  conversation(): Conversation {
    return {
      address: this.opts.address,
      say: (message) => {
        this.#enqueue({ parts: [message], bytes: message.length, raw: true });
        this.#flush();
      },
      hear: () => {
        const first = this.#inbox.shift();
        if (first !== undefined) return Promise.resolve(first);
        if (this.#ended !== undefined) return Promise.reject(this.#ended);
        this.stream.resume();
        return new Promise((resolve, reject) => {
          this.#hearing = { resolve, reject };
        });
      },
    };
  }

  /** The handshake went well: it is a link from now on. */
  establish(peer: Peer): void {
    this.#peer = peer;
  }

  open(events: LinkEvents<In>): void {
    if (this.#events !== undefined) throw new Error("a link is opened once");
    this.#events = events;
    queueMicrotask(() => {
      for (const bytes of this.#inbox.splice(0)) this.#deliver(bytes);
      if (this.#ended !== undefined) this.#tellClosed();
      else if (!this.#isPaused) this.stream.resume();
    });
  }

  send(message: Out): void {
    if (this.#ended !== undefined) return;
    this.#enqueue(encoded(this.opts.out, message));
    if (this.#isWriting || this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  get congested(): boolean {
    return this.#bufferedBytes > CONGESTED_BYTES && this.#ended === undefined;
  }

  drained(): Promise<void> {
    if (!this.congested) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  pause(): void {
    this.#isPaused = true;
    this.stream.pause();
  }

  resume(): void {
    this.#isPaused = false;
    // Before open() nothing is read either.
    if (this.#events !== undefined) this.stream.resume();
  }

  close(reason?: FsError): void {
    if (this.#ended !== undefined) return;
    this.#isClosedHere = true;
    while (this.#queue.length > 0) this.stream.write(nextOutgoing(this.#queue, this.opts.packed));
    this.#end(reason ?? new FsError("EIO", `the stream to ${this.opts.address} was closed here`));
    this.opts.finish(reason);
    this.stream.resume();
  }

  /** The stream is over, by the other side's doing or the network's. */
  lost(reason: FsError): void {
    if (this.#ended !== undefined) return;
    // What had arrived is delivered first; read() gives it to the "data" listener.
    while (this.stream.read() !== null);
    this.#end(reason);
  }

  #end(reason: FsError): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#queue.length = 0;
    this.#bufferedBytes = 0;
    this.#hearing?.reject(reason);
    this.#hearing = undefined;
    for (const resume of this.#drainWaiters.splice(0)) resume();
    queueMicrotask(() => this.#tellClosed());
  }

  #tellClosed(): void {
    if (this.#events === undefined || this.#ended === undefined || this.#isClosedTold) return;
    if (this.#inbox.length > 0 && !this.#isClosedHere) return;
    this.#isClosedTold = true;
    this.#events.closed(this.#ended);
  }

  #enqueue(waiting: Waiting): void {
    this.#bufferedBytes += waiting.bytes;
    this.#queue.push(waiting);
  }

  #received(bytes: Buffer): void {
    if (this.#ended !== undefined) return;
    const hearing = this.#hearing;
    if (hearing !== undefined) {
      this.#hearing = undefined;
      this.stream.pause();
      hearing.resolve(bytes);
      return;
    }
    if (this.#events !== undefined && this.#inbox.length === 0) {
      this.#deliver(bytes);
      return;
    }
    this.#inbox.push(bytes);
    if (this.#events === undefined) this.stream.pause();
  }

  #deliver(bytes: Buffer): void {
    const { in: codec, packed, address } = this.opts;
    const events = this.#events;
    if (events === undefined) throw new Error("delivery before open");
    let messages: In[];
    try {
      messages = unpack(bytes, packed).map((frame) => codec.decode(frame));
    } catch (error) {
      const reason = new FsError("EPROTO", `${address} sent a malformed message`, { cause: error });
      if (this.#ended === undefined) this.close(reason);
      return;
    }
    for (const message of messages) {
      if (this.#isClosedHere) return;
      events.message(message);
    }
  }

  #flush(): void {
    if (this.#isWriting || this.#queue.length === 0 || this.#ended !== undefined) return;
    this.#isWriting = true;
    const message = nextOutgoing(this.#queue, this.opts.packed);
    this.stream.write(message, () => {
      this.#isWriting = false;
      if (this.#ended !== undefined) return;
      this.#bufferedBytes -= message.waitingBytes;
      if (this.#bufferedBytes <= DRAINED_BYTES) for (const resume of this.#drainWaiters.splice(0)) resume();
      this.#flush();
    });
  }
}
