import type {
  AllocReply,
  ClientFrame,
  Cred,
  HeldLocks,
  OpenFile,
  Recall,
  ServerFrame,
} from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import type { NodeMap } from "../../proto/gen/bigfs/v1/node.js";

type Op = NonNullable<ClientFrame["op"]>;
type Answer = NonNullable<ServerFrame["op"]>;

/** Requests that have an answer, by the name of their case in meta.proto. */
export type OpName = Exclude<Op["$case"] & Answer["$case"], "attach">;
export type OpArgs<C extends Op["$case"]> = Extract<Op, { $case: C }>["value"];
export type OpResult<C extends OpName> = Extract<Answer, { $case: C }>["value"];

/** What is told of a request before its answer. */
export interface Told {
  /** When it was done. */
  readonly at: Time;
  /** The inode that it makes. */
  readonly ino?: number;
}

export interface CallOptions<C extends OpName> {
  /** Its effect is told before its answer; a daemon that is restarted does it before it serves others. */
  readonly told?: Told;
  /** Takes the answer in the turn in which it arrives, before anything that the daemon has sent after it. */
  readonly take?: (answer: OpResult<C>) => void;
}

export interface VolumeInfo {
  readonly volume: string;
  readonly chunkSize: number;
  readonly replicas: number;
  readonly minReplicas: number;
}

/** What the metadata daemon asks of the holder of caches. */
export interface MetaEvents {
  /** Drop these caches (the kernel's too); resolves when that is done, with those of the inodes that are open here. */
  recall(recall: Recall): Promise<OpenFile[]>;
  /** These files are not shared any more (see OpenReply.shared). */
  unshared(inos: readonly number[]): void;
  /** This slot of a file is in many pieces: they may be put together, when that is no burden. */
  crowded(ino: number, slot: number): void;
  /** Inodes open here with their handle counts, to declare again after a reconnect. */
  openFiles(): OpenFile[];
  /** Locks held here, to declare again after a reconnect. */
  heldLocks(): HeldLocks[];
  /** Another session wants a lock on this file: say what is held (`tell("locks")`). */
  locksWanted(ino: number): void;
  /** A lock on this file has ended that was waited for. */
  locksFreed(ino: number): void;
  /**
   * The stream broke and the session goes on, perhaps with a daemon that was restarted and does not know what is cached
   * here: every cache is void from now on; resolves when the kernel's are too. Nothing is lost.
   */
  uncached(): Promise<void>;
  /**
   * The session was fenced: every cache is void, what was not durable is lost (`isLost`: also changes that were
   * answered). A new session is already there.
   */
  fenced(isLost: boolean): void;
  /** A change that was answered could not be repeated at a daemon that was restarted; the session goes on. */
  lost(): void;
}

/** The metadata daemon, with reconnection and replay behind it. Owned by mount/vfs, implemented by mount/clients. */
export interface MetaClient {
  readonly volume: VolumeInfo;
  /** The latest node map. */
  readonly map: NodeMap;
  /** Milliseconds for which cached answers may still be used; 0 when the lease is over. */
  leaseLeftMs(): number;
  /** Wall time by the metadata daemon's clock. */
  now(): Time;
  /** A request would be sent at once: the daemon is there, and not too much is unanswered. */
  readonly isReady: boolean;
  /** Waits out a daemon that is away up to ioDeadline; rejects with FsError. */
  call<C extends OpName>(op: C, args: OpArgs<C>, who: Cred, opts?: CallOptions<C>): Promise<OpResult<C>>;
  /** No answer; lost when the stream breaks (what matters is declared again by openFiles and heldLocks). */
  tell<C extends "close" | "forget" | "locks">(op: C, args: OpArgs<C>): void;
  /** Resolves when everything that this client was told has happened is on disk. Waits as long as `call` does. */
  durable(): Promise<void>;
  listen(events: MetaEvents): void;
  /** Says goodbye and closes. */
  stop(): Promise<void>;
}

export interface ChunkClient {
  /**
   * Stores a chunk on the nodes (the first is the primary) and resolves when `minCopies` stand and are registered.
   * The buffer must not change until then. `signal` ends the wait.
   */
  put(chunk: {
    id: number;
    data: Buffer;
    nodes: readonly number[];
    minCopies: number;
    /** How many copies there shall be in the end; absent: as many as the volume wants. */
    wanted?: number;
    sync: boolean;
    signal?: AbortSignal;
  }): Promise<void>;
  /** Bytes off..off+len of the chunk from any of the nodes, nearest and least loaded first, failing over at once. */
  get(want: {
    id: number;
    /** Bytes of the whole chunk. */
    size: number;
    off: number;
    len: number;
    nodes: readonly number[];
  }): Promise<Buffer>;
  stop(): Promise<void>;
}

export type { AllocReply };
