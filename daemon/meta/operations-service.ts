/**
 * Requests that are answered by a rule.
 *
 * What happens in the turn in which the rule has run belongs to the operation: its stored reply is in its transaction;
 * opens, leases and recalls are recorded before anything else can run. So no other operation falls between the change of
 * a row and the recall of whoever has it cached, nor between an open and the unlink that has to know of it.
 */
import { FsError } from "../../proto/errno.js";
import { ServerFrame, type Stamp } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../common/clock.js";
import type { Cluster } from "./cluster/cluster.js";
import type { Compaction } from "./compaction.js";
import type { AnswerOp } from "./connection.js";
import type { Executed, Executor } from "./executor.js";
import { inodeOf, type Grant, type Grants } from "./grants.js";
import type { InodeIds } from "./ids.js";
import { key } from "./keys.js";
import { Observed } from "./observed.js";
import type { HandleCount, Opens } from "./opens.js";
import type { Phases } from "./phases.js";
import type { Reaper } from "./reaper.js";
import type { Recalls } from "./recalls.js";
import { credOf, type Call, type Outcome, type RequestOp } from "./requests.js";
import type { Context } from "./rules/context.js";
import { OPERATIONS, type RuleName } from "./rules/operations.js";
import { W } from "./rules/modes.js";
import { volumeOf } from "./rules/volume.js";
import type { Sharing } from "./sharing.js";
import type { Tx } from "./tx.js";

export interface OperationsParts {
  readonly executor: Executor;
  readonly clock: Clock;
  readonly cluster: Pick<Cluster, "isLive">;
  readonly compaction: Compaction;
  readonly grants: Grants;
  readonly ids: InodeIds;
  readonly opens: Opens;
  readonly phases: Phases;
  readonly reaper: Reaper;
  readonly recalls: Recalls;
  readonly sharing: Sharing;
  readonly sweepSoon: () => void;
  readonly volume: Context["volume"];
}

/** What was fixed when the operation arrived, and stays over re-runs. */
export interface Fixed {
  readonly now: Time;
  readonly inos: readonly number[];
}

/** `grant` undefined: the reply that an earlier run has stored. */
interface Ran {
  readonly answer: AnswerOp;
  readonly stamp: Stamp | undefined;
  readonly grant: Grant | undefined;
  readonly used: number;
  /** The answer waits for them. */
  readonly waits: readonly Promise<unknown>[];
  readonly opened: Handle | undefined;
  readonly sweeps: boolean;
}

/** A handle that was counted. */
type Handle = HandleCount & { readonly ino: number };

type AnyRule = (tx: Tx, ctx: Context, args: unknown) => unknown;

export function isRuleName(name: string): name is RuleName {
  return Object.hasOwn(OPERATIONS, name);
}

export class OperationsService {
  /** By session and request: answers that wait until others show no more what has changed. */
  readonly #unshown = new Map<string, Promise<unknown>>();

  constructor(private readonly parts: OperationsParts) {}

  /** Time and ids of a request: those of its first run when it is sent again. */
  async fix({ frame, op }: Call): Promise<Fixed> {
    const { clock, ids } = this.parts;
    const { replay } = frame;
    const now = replay?.now ?? clock.now();
    const makes = op.$case === "make" || (op.$case === "rename" && op.value.whiteout === true);
    if (!makes) return { now, inos: [] };
    return { now, inos: replay !== undefined && replay.inos.length > 0 ? replay.inos : [await ids.take()] };
  }

  async handle(call: Call): Promise<Outcome> {
    return this.run(call, await this.fix(call));
  }

  /** Rejects with the rule's FsError: nothing was changed. */
  async run(call: Call, fixed: Fixed): Promise<Outcome> {
    if (!call.connection.isOpen) throw new FsError("ESTALE", "the stream is gone");
    let ran: Ran | undefined;
    let executed: Executed<Ran>;
    try {
      executed = await call.session.execute((tx) => (ran = this.#rule(tx, call, fixed)), {
        input: call.op,
        isAdmitted: call.frame.replay !== undefined,
      });
    } catch (error) {
      if (ran?.opened !== undefined) await this.#undoOpen(call, ran.opened);
      throw error;
    }
    if (executed.value.sweeps) this.parts.sweepSoon();
    return this.#outcome(call, fixed, executed);
  }

  #rule(tx: Tx, call: Call, fixed: Fixed): Ran {
    const { session, frame, op } = call;
    if (frame.again && frame.id !== 0) {
      const stored = tx.get(key.reply(session.id, frame.id));
      if (stored !== undefined) return this.#again(call, stored.frame);
    }
    const seen = new Observed(tx);
    let used = 0;
    const freshIno = () => {
      const ino = fixed.inos[used++];
      if (ino === undefined) throw new Error(`${op.$case} wants more inode ids than it was given`);
      if (frame.replay !== undefined) mustBeFree(seen, ino);
      return ino;
    };
    const rule = OPERATIONS[op.$case as RuleName] as unknown as AnyRule;
    const answer = { $case: op.$case, value: rule(seen, this.#context(call, fixed, freshIno), op.value) } as AnswerOp;
    if (seen.hasChanged && frame.id !== 0) {
      this.#store(tx, call, { id: frame.id, op: answer, now: fixed.now, inos: fixed.inos.slice(0, used) });
    }
    return { answer, stamp: undefined, used, ...this.#effects(call, answer, seen) };
  }

  /** In the transaction: the reply, so that the operation does not run twice; old ones go. */
  #store(tx: Tx, { session }: Call, reply: { id: number; op: AnswerOp; now: Time; inos: number[] }): void {
    const { id, op, now, inos } = reply;
    const stamp = { now, inos, order: 0, batch: 0 };
    const frame = ServerFrame.encode({ id, errno: "", durable: 0, echoMs: 0, stamp, op }).finish();
    tx.put(key.reply(session.id, id), { frame: Buffer.from(frame) });
    const old = session.oldReplies();
    for (const oldId of old) tx.del(key.reply(session.id, oldId));
    session.repliesDropped(old);
    session.replyStored(id);
  }

  /** In the turn of the change, with nothing after it that can fail but the executor itself. */
  #effects(call: Call, answer: AnswerOp, seen: Observed): Omit<Ran, "answer" | "stamp" | "used"> {
    const { compaction, grants, recalls, reaper } = this.parts;
    const { session, frame, op } = call;
    const unshown = grants.unshown(op);
    const recalled = recalls.changed(seen.changes(), session.id);
    compaction.note(session.id, seen.crowded);
    for (const orphan of seen.orphans) reaper.orphaned(orphan);
    const opened = this.#countOpen(call, answer);
    const grant = grants.give(session.id, frame.id, op, answer, seen);
    const waits = [unshown, recalled, this.#told(opened)].filter((wait) => wait !== undefined);
    if (waits.length > 0) this.#keepWaiting(call, Promise.all(waits));
    return { waits, opened, grant, sweeps: seen.sweeps };
  }

  /** It has run before: the same answer, and only what is not in rows is done once more. */
  #again(call: Call, stored: Buffer): Ran {
    const { op, stamp } = ServerFrame.decode(stored);
    if (op?.$case !== call.op.$case) throw new FsError("EIO", `request ${call.frame.id} was another one before`);
    const opened = this.#countOpen(call, op);
    const waits = [this.#told(opened), this.#unshown.get(requestOf(call))].filter((wait) => wait !== undefined);
    return { answer: op, stamp, grant: undefined, used: 0, waits, opened, sweeps: false };
  }

  /** When the stream breaks meanwhile, the request comes again: it must not be answered earlier. */
  #keepWaiting(call: Call, shown: Promise<unknown>): void {
    const request = requestOf(call);
    this.#unshown.set(request, shown);
    const done = (): void => void this.#unshown.delete(request);
    shown.then(done, done);
  }

  #told(opened: Handle | undefined): Promise<void> | undefined {
    return opened && this.parts.sharing.told(opened.ino);
  }

  /** An open that was answered before a reconnect has been declared with it. */
  #countOpen({ session, frame, op }: Call, answer: AnswerOp): Handle | undefined {
    const args = op.$case === "open" || (op.$case === "make" && op.value.open) ? op.value : undefined;
    const ino = args === undefined || frame.replay !== undefined ? undefined : inodeOf(answer);
    if (args === undefined || ino === undefined) return undefined;
    const opened = { ino, count: 1, writers: (args.access & W) === 0 ? 0 : 1 };
    this.parts.opens.open(session.id, ino, opened);
    return opened;
  }

  async #undoOpen({ session }: Call, opened: Handle): Promise<void> {
    const { opens, reaper } = this.parts;
    if (opens.close(session.id, opened.ino, opened)) await reaper.unopened([opened.ino]);
  }

  /** What is known of the file when it is answered; whatever comes after that is told by itself. */
  #withSharing(answer: AnswerOp): AnswerOp {
    const ino = inodeOf(answer);
    if (ino === undefined || !this.parts.opens.isShared(ino)) return answer;
    if (answer.$case === "open") return { $case: "open", value: { ...answer.value, shared: true } };
    return answer.$case === "make" ? { $case: "make", value: { ...answer.value, shared: true } } : answer;
  }

  #outcome(call: Call, fixed: Fixed, executed: Executed<Ran>): Outcome {
    const { executor, grants } = this.parts;
    const { value: ran, batch, order } = executed;
    const { op } = call;
    if (ran.stamp !== undefined) {
      const { stamp } = ran;
      return {
        waits: [...ran.waits, executor.drained()],
        answer: () => ({ op: this.#withSharing(ran.answer), stamp }),
      };
    }
    const durable = mustBeDurable(op) && batch !== 0 ? executor.whenDurable(batch) : undefined;
    const stamp = { now: fixed.now, inos: fixed.inos.slice(0, ran.used), order, batch };
    return {
      waits: durable === undefined ? ran.waits : [...ran.waits, durable],
      answer: () => ({
        op: this.#withSharing(grants.told(ran.answer, ran.grant)),
        stamp: batch === 0 ? undefined : stamp,
      }),
    };
  }

  #context(call: Call, { now }: Fixed, freshIno: () => number): Context {
    const { opens, phases, cluster, volume } = this.parts;
    const { id: session, readOnly } = call.session;
    return {
      who: credOf(call),
      now,
      isTold: call.frame.replay !== undefined,
      session,
      readOnly,
      freshIno,
      // Before all are back, nobody knows what they have open.
      isOpen: (ino) => !phases.isServing || opens.isOpen(ino),
      isLive: (node) => cluster.isLive(node),
      volume,
    };
  }
}

function requestOf({ session, frame }: Call): string {
  return `${session.id} ${frame.id}`;
}

/** An inode id that a client wants to use was given to it, and was not used. EIO: whatever is wrong, it must not cost a file. */
function mustBeFree(tx: Tx, ino: number): void {
  if (ino >= volumeOf(tx).nextIno) throw new FsError("EIO", `inode id ${ino} was never given`);
  if (tx.get(key.inode(ino)) !== undefined) throw new FsError("EIO", `inode id ${ino} is in use`);
}

/**
 * Whether it is answered only when it is on disk. Repeated after a crash, a copy made after others have changed its
 * source would be another one, and a chunk may be known no more; bytes in the request itself are repeated as they were,
 * like a name.
 */
function mustBeDurable(op: RequestOp): boolean {
  if (op.$case === "copyrange" || op.$case === "compact") return true;
  if (op.$case !== "commit") return false;
  return op.value.sync || op.value.slices.some(({ slice }) => slice !== undefined && slice.chunk !== 0);
}
