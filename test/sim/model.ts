/**
 * What may be true: every change that a program asked for, what it was told, and so what a reader may see.
 *
 * Time is counted in moments, of which each question and each answer is one. A change has happened at some moment
 * between its question and its answer; of one that failed, or whose program has died, nobody knows whether and when. What
 * a reader sees must have been there at a moment of its reading, and nothing that it sees may have been replaced before.
 */
export type Report = (what: string) => void;

/** A program on one run of one client. */
export interface Seer {
  readonly client: string;
  /** Which of the client's lives. */
  readonly life: number;
}

/**
 * open: not answered. told: answered, and the client still has to store it. risk: told, but the client's session was
 * given up since; the next flush says what has become of it. stored: flushed or, of names, answered. maybe: failed.
 */
type State = "open" | "told" | "risk" | "stored" | "maybe";

export interface Change extends Seer {
  readonly id: number;
  /** Simulated milliseconds. */
  readonly startMs: number;
  readonly start: number;
  end: number;
  /** When it was stored, for those who look elsewhere. */
  stored: number;
  storedMs: number;
  /** Of names: when somebody of another session has seen it. From then on it is certain and durable, whatever fails. */
  seen: number;
  state: State;
  /** It survives whatever fails. */
  isDurable: boolean;
}

export class Moments {
  #last = 0;
  #lastId = 0;

  constructor(readonly nowMs: () => number) {}

  next(): number {
    return ++this.#last;
  }

  begin({ client, life }: Seer): Change {
    const never = { end: Infinity, stored: Infinity, storedMs: Infinity, seen: Infinity, isDurable: false };
    const startMs = this.nowMs();
    return { client, life, id: ++this.#lastId, startMs, start: this.next(), ...never, state: "open" };
  }
}

/** It was certainly over at that moment. */
export function endOf(change: Change): number {
  const isAnswered = change.state === "told" || change.state === "stored";
  return Math.min(change.seen, isAnswered ? change.end : Infinity);
}

export function fail(change: Change): void {
  if (!change.isDurable) change.state = "maybe";
}

/** A file of which nobody was told which it is. */
export const UNKNOWN = -1;

/** The moments of a question and its answer. */
export interface Asked {
  readonly start: number;
  readonly end: number;
}

export interface Written {
  readonly change: Change;
  value: number;
}

/** The files that one name leads to, one after the other; at first `initial`. */
export class Register {
  #writes: Written[] = [];

  constructor(private readonly initial: number) {}

  write(change: Change, value: number): Written {
    const written = { change, value };
    this.#writes.push(written);
    return written;
  }

  /** It did nothing after all. */
  refused(change: Change): void {
    this.#writes = this.#writes.filter((written) => written.change !== change);
  }

  /** What the last change has left; for choosing what to do, not for judging. */
  get latest(): number {
    return this.#writes.at(-1)?.value ?? this.initial;
  }

  /** The same if there is no doubt. */
  get certain(): number | undefined {
    return this.#writes.every(({ change }) => endOf(change) !== Infinity) ? this.latest : undefined;
  }

  /** Whether a reader may see the value that asked at `start` and was answered at `end`. */
  allows(value: number, asked: Asked): boolean {
    return (value === this.initial && !this.#isReplaced(-1, asked)) || this.#leadingTo(value, asked).length > 0;
  }

  /** Somebody has seen that value. What one other session alone can have done is durable: nobody sees it before. */
  seen(value: number, asked: Asked & Seer): void {
    if (value === this.initial && !this.#isReplaced(-1, asked)) return;
    const [change, another] = this.#leadingTo(value, asked);
    if (change === undefined || another !== undefined || change.client === asked.client) return;
    change.isDurable = true;
    change.seen = Math.min(change.seen, asked.end);
  }

  /** The changes that have led to that value, perhaps, when somebody asked. */
  #leadingTo(value: number, asked: Asked): Change[] {
    const led = this.#writes.filter((written) => written.value === value).map(({ change }) => change);
    return led.filter((change) => change.start <= asked.end && !this.#isReplaced(endOf(change), asked));
  }

  #isReplaced(since: number, { start }: Asked): boolean {
    return this.#writes.some(({ change }) => endOf(change) < start && change.start > since);
  }

  /** Whether there may have been another value than the initial one. */
  mayBe(start: number, end: number): boolean {
    return this.#writes.some(({ value }) => value !== this.initial && this.allows(value, { start, end }));
  }

  /** The file that a change has led to of which nobody was told which it is; false: there is no such change. */
  resolve(value: number): boolean {
    const open = this.#writes.find((written) => written.value === UNKNOWN);
    if (open !== undefined) open.value = value;
    return open !== undefined;
  }

  toString(): string {
    return this.#writes
      .slice(-6)
      .map(({ change, value }) => `${value} by ${change.client} ${change.start}-${change.end} ${change.state}`)
      .join("; ");
  }
}
