import type { FileSystem, Maybe } from "../../vfs/filesystem.js";
import type { Cursor } from "../codec/cursor.js";
import type { Head } from "../codec/header.js";
import type { Agreed } from "../codec/init.js";
import type { Interrupts } from "../interrupts.js";
import type { Output } from "../codec/output.js";
import type { PendingRequests } from "../pending.js";

/** A request on its way. */
export interface Request {
  readonly head: Head;
  readonly operation: Operation;
  /** Monotonic milliseconds of its arrival; 0 when nobody measures. */
  readonly startMs: number;
}

/** What operations need of the connection. Each request gets exactly one of `send` and `fail`; neither ever throws. */
export interface Channel {
  readonly fs: FileSystem;
  readonly agreed: Agreed;
  /** Bytes of one read or write. */
  readonly maxWrite: number;
  readonly out: Output;
  readonly pending: Pick<PendingRequests, "epoch" | "links" | "linked">;
  readonly interrupts: Interrupts;
  /** Which of the processes that served this mount this one is, for its handles. */
  readonly generation: number;
  /** What `out` holds, then `body`. False: the kernel no longer wants it. */
  send(request: Request, body: Buffer | undefined): boolean;
  fail(request: Request, error: unknown): void;
  /** A request without an answer, or a clean-up, has failed. */
  complain(name: string, error: unknown): void;
}

/** One kind of request: parse, call, answer. */
export interface Operation {
  readonly name: string;
  /** The asker holds locks of folders that the message does not name as its node. */
  readonly holdsOthers: boolean;
  /** Answers, at once or when the promise resolves; neither throws nor rejects. */
  start(channel: Channel, request: Request, cursor: Cursor): Promise<void> | undefined;
}

export interface Spec<A, T> {
  readonly name: string;
  readonly holdsOthers?: boolean;
  /** Only here the cursor may be read. */
  parse(cursor: Cursor, channel: Channel): A;
  run(fs: FileSystem, head: Head, args: A, channel: Channel): Maybe<T>;
  /** Writes the answer; bytes that are returned follow it. Without: an empty answer. */
  reply?(out: Output, value: T, args: A, channel: Channel): Buffer | undefined;
  /** The kernel did not take the answer: gives back what it handed out. */
  undo?(fs: FileSystem, value: T): Maybe<void>;
}

export function operation<A, T>(spec: Spec<A, T>): Operation {
  return {
    name: spec.name,
    holdsOthers: spec.holdsOthers ?? false,
    start(channel, request, cursor) {
      let args: A;
      let value: Maybe<T>;
      try {
        args = spec.parse(cursor, channel);
        value = spec.run(channel.fs, request.head, args, channel);
      } catch (error) {
        channel.fail(request, error);
        return undefined;
      }
      if (value instanceof Promise) {
        return value.then(
          (found) => answer(spec, channel, request, args, found),
          (error: unknown) => channel.fail(request, error),
        );
      }
      answer(spec, channel, request, args, value);
      return undefined;
    },
  };
}

function answer<A, T>(spec: Spec<A, T>, channel: Channel, request: Request, args: A, value: T): void {
  let body: Buffer | undefined;
  try {
    const out = channel.out.begin();
    body = spec.reply?.(out, value, args, channel);
  } catch (error) {
    channel.fail(request, error);
    giveBack(spec, channel, value);
    return;
  }
  if (!channel.send(request, body)) giveBack(spec, channel, value);
}

function giveBack<A, T>(spec: Spec<A, T>, channel: Channel, value: T): void {
  if (spec.undo !== undefined) quietly(channel, spec.name, () => spec.undo?.(channel.fs, value));
}

/** A request that has no answer. */
export function notice<A>(spec: {
  readonly name: string;
  parse(cursor: Cursor): A;
  run(fs: FileSystem, head: Head, args: A, channel: Channel): void;
}): Operation {
  return {
    name: spec.name,
    holdsOthers: false,
    start(channel, request, cursor) {
      quietly(channel, spec.name, () => spec.run(channel.fs, request.head, spec.parse(cursor), channel));
      return undefined;
    },
  };
}

function quietly(channel: Channel, name: string, run: () => Maybe<void> | undefined): void {
  try {
    const done = run();
    if (done instanceof Promise) done.catch((error: unknown) => channel.complain(name, error));
  } catch (error) {
    channel.complain(name, error);
  }
}

/** Goes on with a value when it is there, without a promise when it is there already. */
export function after<T, U>(value: Maybe<T>, next: (value: T) => Maybe<U>): Maybe<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}
