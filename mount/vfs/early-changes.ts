import type { Cred } from "../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../proto/gen/bigfs/v1/rows.js";
import type { Name } from "../../proto/name.js";
import { type Ticket, entryKey } from "./answers.js";
import type { MetaClient, OpArgs, OpName, OpResult } from "./ports.js";

type Named = { readonly [F in "ino" | "dir" | "fromIno" | "intoIno"]?: unknown };

/** So many may be unanswered: whoever takes a folder back waits for all that were made in it. */
const UNANSWERED_MAX = 128;

/**
 * Changes that were told before the metadata daemon has answered them, in folders that this session has exclusively: so
 * nobody else can see that they are not done.
 *
 * Invariants:
 * - They are sent when they are told, and repeated at a daemon that was restarted before it serves others. It may carry
 *   them out in another order (one waits for its rows), so no two of them are about the same name.
 * - Whatever may see at the daemon what they do is asked when they are answered, and no sooner.
 */
export class EarlyChanges {
  readonly #unanswered = new Set<Promise<unknown>>();
  /** The same by the inodes that they are about. */
  readonly #byInode = new Map<number, Set<Promise<unknown>>>();
  /** Names that they are about. */
  readonly #names = new Set<string>();

  constructor(private readonly meta: MetaClient) {}

  /** One more can be sent now. */
  get isReady(): boolean {
    return this.#unanswered.size < UNANSWERED_MAX && this.meta.isReady;
  }

  /** One that is not answered is about this name. */
  isAbout(dir: number, name: Name): boolean {
    return this.#names.has(entryKey(dir, name));
  }

  /** One that is not answered is about this inode. */
  isAboutInode(ino: number): boolean {
    return this.#byInode.has(ino);
  }

  /** Sends a change of names of a folder, and of an inode. Only when `isReady`, and none is about these names. */
  send<C extends OpName>(
    op: C,
    args: OpArgs<C>,
    about: {
      readonly who: Cred;
      readonly now: Time;
      readonly dir: number;
      readonly ino: number;
      readonly names: readonly Name[];
    },
  ): Promise<OpResult<C>> {
    const { who, now, dir, ino } = about;
    const names = about.names.map((name) => entryKey(dir, name));
    const inos = [dir, ino];
    const answer = this.meta.call(op, args, who, { told: op === "make" ? { at: now, ino } : { at: now } });
    for (const name of names) this.#names.add(name);
    this.#unanswered.add(answer);
    for (const ino of inos) {
      const own = this.#byInode.get(ino);
      if (own === undefined) this.#byInode.set(ino, new Set([answer]));
      else own.add(answer);
    }
    const answered = (): void => {
      for (const name of names) this.#names.delete(name);
      this.#answered(answer, inos);
    };
    answer.then(answered, answered);
    return answer;
  }

  /** Resolves when all that were sent until now (of these inodes) are answered or have failed; undefined: they are. */
  settled(inos?: readonly number[]): Promise<void> | undefined {
    if (this.#unanswered.size === 0) return undefined;
    const waits =
      inos === undefined ? [...this.#unanswered] : inos.flatMap((ino) => [...(this.#byInode.get(ino) ?? [])]);
    return waits.length === 0 ? undefined : Promise.allSettled(waits).then(() => undefined);
  }

  /** The same, of what a request may see. */
  settledFor<C extends OpName>(op: C, args: OpArgs<C>): Promise<void> | undefined {
    return this.#unanswered.size === 0 ? undefined : this.settled(inodesOf(op, args));
  }

  /** What is told and not answered may be carried out after what is sent now, whose answer then does not show it. */
  foretell(ticket: Ticket): void {
    for (const ino of this.#byInode.keys()) ticket.foretell(ino);
    for (const name of this.#names) ticket.spoilEntry(name);
  }

  /** Everything before it is on disk. */
  async durable(): Promise<void> {
    await this.settled();
    await this.meta.durable();
  }

  #answered(answer: Promise<unknown>, inos: readonly number[]): void {
    this.#unanswered.delete(answer);
    for (const ino of inos) {
      const own = this.#byInode.get(ino);
      own?.delete(answer);
      if (own?.size === 0) this.#byInode.delete(ino);
    }
  }
}

/** Requests that see more than the inodes that they name: what a name leads to, all together, everything before them. */
const FAR_SIGHTED: ReadonlySet<OpName> = new Set(["rmdir", "rename", "statfs", "fsync"]);

/** Inodes that a request names; undefined: it may see others too. */
function inodesOf<C extends OpName>(op: C, args: OpArgs<C>): number[] | undefined {
  const { ino, dir, fromIno, intoIno } = args as Named;
  if (FAR_SIGHTED.has(op)) return undefined;
  return [ino, dir, fromIno, intoIno].filter((named) => typeof named === "number");
}
