import { FsError } from "../../proto/errno.js";
import type { Link, LinkEvents, Peer } from "../../daemon/common/rpc/link.js";

/** Two ends of one stream in memory: messages are copied, arrive in order and in a later turn. */
export function linkPair<A, B>(
  peers: { readonly left?: Partial<Peer>; readonly right?: Partial<Peer> } = {},
): {
  /** Sends A, receives B. */
  readonly left: MemoryLink<A, B>;
  /** Sends B, receives A. */
  readonly right: MemoryLink<B, A>;
} {
  const left = new MemoryLink<A, B>(peers.right);
  const right = new MemoryLink<B, A>(peers.left);
  left.connect(right);
  right.connect(left);
  return { left, right };
}

export class MemoryLink<Out, In> implements Link<Out, In> {
  readonly peer: Peer;
  /** Set by a test that wants the other side to wait. */
  congested = false;
  #other: MemoryLink<In, Out> | undefined;
  #events: LinkEvents<In> | undefined;
  #arrived: In[] = [];
  #reason: FsError | undefined;
  #isClosed = false;
  #isPaused = false;

  constructor(peer: Partial<Peer> = {}) {
    this.peer = {
      role: "test",
      volume: "",
      incarnation: 0,
      protocol: 1,
      address: "memory:0",
      clockMs: undefined,
      ...peer,
    };
  }

  connect(other: MemoryLink<In, Out>): void {
    this.#other = other;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  open(events: LinkEvents<In>): void {
    if (this.#events !== undefined) throw new Error("opened twice");
    this.#events = events;
    setImmediate(() => this.#deliver());
  }

  send(message: Out): void {
    if (this.#isClosed) return;
    const copy = structuredClone(message);
    const other = this.#other;
    setImmediate(() => other?.arrive(copy));
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    setImmediate(() => this.#deliver());
  }

  close(reason = new FsError("EIO", "closed")): void {
    if (this.#isClosed) return;
    const other = this.#other;
    this.#end(reason);
    setImmediate(() => other?.endedByOther(reason));
  }

  arrive(message: In): void {
    if (this.#isClosed) return;
    this.#arrived.push(message);
    this.#deliver();
  }

  endedByOther(reason: FsError): void {
    if (!this.#isClosed) this.#end(reason);
  }

  #end(reason: FsError): void {
    this.#isClosed = true;
    this.#reason = reason;
    setImmediate(() => this.#deliver());
  }

  #deliver(): void {
    const events = this.#events;
    if (events === undefined || (this.#isPaused && !this.#isClosed)) return;
    for (const message of this.#arrived.splice(0)) events.message(message);
    const reason = this.#reason;
    this.#reason = undefined;
    if (reason !== undefined) events.closed(reason);
  }
}
