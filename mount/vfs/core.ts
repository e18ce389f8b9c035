import type { Logger } from "pino";
import type { Registry } from "prom-client";
import type { Clock } from "../../daemon/common/clock.js";
import type { Deadlines } from "../../daemon/common/deadlines.js";
import { FsError, fail } from "../../proto/errno.js";
import type { Attr, Cred } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import type { Name } from "../../proto/name.js";
import { Answers, type Ticket } from "./answers.js";
import { Busy } from "./busy.js";
import { EarlyChanges } from "./early-changes.js";
import { EntryCache } from "./entries.js";
import type { Caller, KernelCache, Maybe } from "./filesystem.js";
import type { FileState } from "./file-state.js";
import { InodeTable } from "./inodes.js";
import { isFolder } from "./modes.js";
import { laterOf } from "./times.js";
import { WriteErrors } from "./write-errors.js";
import type { ChunkClient, MetaClient, OpArgs, OpName, OpResult } from "./ports.js";

export interface VfsParts {
  readonly meta: MetaClient;
  readonly chunks: ChunkClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly registry: Registry;
}

export interface VfsOptions {
  /** Bytes of chunk data kept for reading. */
  readonly cacheBytes: number;
  /** Inodes that are cached although the kernel has forgotten them, at most. */
  readonly idleInodes: number;
  /** Bytes written but not stored; writers wait beyond it. */
  readonly dirtyBytes: number;
  readonly readOnly: boolean;
  /**
   * Who checks permissions: a kernel, before it asks (it alone knows the groups of each process), or the rules of the
   * metadata daemon, by what the caller says of himself.
   */
  readonly permissions: "kernel" | "rules";
  readonly deadlines: Deadlines;
  /** This process takes the place of one that died (see Heir), which had locks on these files. */
  readonly inherited?: { readonly locked: ReadonlySet<number> } | undefined;
  /** Called when the first lock of an open file is asked for, and when the file is closed. */
  readonly onLocked?: ((ino: number, isLocked: boolean) => void) | undefined;
}

/** The root folder of every volume. */
export const ROOT_INO = 1;

/** Who asks when the mount asks for itself. */
export const SELF: Cred = { uid: 0, gid: 0, groups: [], checked: true };

/** Requests after which a file may be seen otherwise than through the folder that it was in. */
const MOVE_NAMES: ReadonlySet<OpName> = new Set(["rename", "unlink", "rmdir"]);

/** No kernel is attached: nobody caches anything. */
const NO_KERNEL: KernelCache = {
  dropAttributes: () => Promise.resolve(),
  dropData: () => Promise.resolve(),
  dropEntry: () => Promise.resolve(),
  dropAllEntries: () => true,
};

/** What all parts of the client share. */
export class Core {
  readonly answers: Answers;
  readonly busy = new Busy();
  /** Changes that were answered and are lost, told to whoever syncs a folder. */
  readonly lostChanges = new WriteErrors();
  readonly inodes: InodeTable;
  readonly entries: EntryCache;
  readonly early: EarlyChanges;
  /** Files that have something to store. */
  readonly dirty = new Set<FileState>();
  kernel: KernelCache = NO_KERNEL;

  constructor(
    readonly parts: VfsParts,
    readonly opts: VfsOptions,
  ) {
    const { meta, clock } = parts;
    this.answers = new Answers(clock);
    this.inodes = new InodeTable({ meta, clock, answers: this.answers }, ROOT_INO, opts.idleInodes);
    this.early = new EarlyChanges(meta);
    this.entries = new EntryCache({ meta, inodes: this.inodes, answers: this.answers });
  }

  /** Asks the metadata daemon; `use` takes the answer in before anything that the daemon has sent after it. */
  async ask<C extends OpName, T>(
    op: C,
    args: OpArgs<C>,
    who: Cred,
    use: (answer: OpResult<C>, ticket: Ticket) => T,
  ): Promise<T> {
    this.#tellBefore(op, args);
    const settled = this.early.settledFor(op, args);
    if (settled !== undefined) await settled;
    const ticket = this.begin();
    try {
      let used: { readonly value: T } | undefined;
      await this.parts.meta.call(op, args, who, { take: (answer) => (used = { value: use(answer, ticket) }) });
      if (used === undefined) throw new Error(`nobody took the answer to ${op}`);
      return used.value;
    } finally {
      this.answers.end(ticket);
    }
  }

  /** As ask, for what changes the data of this inode: when it fails, it may have been done although no answer came. */
  async change<C extends OpName, T>(
    op: C,
    args: OpArgs<C>,
    { ino, who }: { readonly ino: number; readonly who: Cred },
    use: (answer: OpResult<C>, ticket: Ticket) => T,
  ): Promise<T> {
    try {
      return await this.ask(op, args, who, use);
    } catch (error) {
      // What is written next would else be marked with a trunc_seq from before, and be cut.
      this.inodes.invalidate(ino);
      throw error;
    }
  }

  /** For the answer to a request that is sent now. */
  begin(): Ticket {
    const ticket = this.answers.begin();
    this.early.foretell(ticket);
    return ticket;
  }

  /** Attributes of files whose data is not stored yet (all, or those) go to the metadata daemon now. Returns the files. */
  tellAttributes(inos?: ReadonlySet<number>): number[] {
    const files = [...this.dirty].filter(({ told, ino }) => told !== undefined && inos?.has(ino) !== false);
    for (const file of files) file.tellAttributes();
    return files.map(({ ino }) => ino);
  }

  #tellBefore<C extends OpName>(op: C, args: OpArgs<C>): void {
    if (this.dirty.size === 0) return;
    const { ino, fromIno, intoIno } = args as { readonly [F in "ino" | "fromIno" | "intoIno"]?: number };
    if (MOVE_NAMES.has(op)) this.tellAttributes();
    else if ((ino ?? fromIno ?? intoIno) !== undefined)
      this.tellAttributes(new Set([ino ?? 0, fromIno ?? 0, intoIno ?? 0]));
  }

  /**
   * Now. The clocks of a mount and of the daemon agree but for some milliseconds; times of one inode nevertheless never
   * go back.
   */
  nowAfter(...known: readonly (Time | undefined)[]): Time {
    return known.reduce<Time>((now, time) => laterOf(time, now), this.parts.meta.now());
  }

  credOf({ uid, gid, groups = [] }: Caller): Cred {
    return { uid, gid, groups: [...groups], checked: this.opts.permissions === "kernel" };
  }

  /** What comes of a change is known without asking, also whether it is allowed. */
  get isForeseeable(): boolean {
    return this.opts.permissions === "kernel" && this.early.isReady;
  }

  mustBeWritable(): void {
    if (this.opts.readOnly) fail("EROFS");
  }

  /** The kernel forgets the name, which leads to this inode as far as is known. */
  dropEntry(dir: number, name: Name, ino: number | undefined): Promise<void> {
    const inode = this.inodes.get(ino ?? 0);
    return this.kernel.dropEntry(dir, name, inode !== undefined && isFolder(inode.attr));
  }

  /** What is answered about an inode, when the kernel may hear of its size. */
  shown<T extends { readonly attr: Attr | undefined }>(answer: Maybe<T>): Maybe<T> {
    if (answer instanceof Promise) return answer.then((found) => this.shown(found));
    const unfilled = this.inodes.get(answer.attr?.ino ?? 0)?.file?.unfilled();
    return unfilled === undefined ? answer : unfilled.then(() => answer);
  }

  /** Does not wait for a notification to the kernel. */
  notify(done: Promise<void>): void {
    done.catch((error: unknown) => this.parts.log.debug({ err: error }, "the kernel did not take a notification"));
  }
}

/** Attributes that an answer must have. */
export function mustAttr(attr: Attr | undefined): Attr {
  if (attr === undefined) throw new FsError("EPROTO", "an answer lacks its attributes");
  return attr;
}
