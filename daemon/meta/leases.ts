/**
 * Who may cache what. A lease is for one row: an inode's attributes and data, or what a name in a folder leads to (also
 * that there is no such name).
 *
 * Invariants:
 * - A lease is given in the same turn in which its row was read, and taken away in the same turn in which its row is
 *   changed; so whoever has one that is not being recalled has seen the row as it is.
 * - A lease that is being recalled counts until its holder has confirmed: whoever changes the row meanwhile waits too.
 * - One session's leases are bounded: the oldest are recalled.
 * - A folder that a session has exclusively, and what is known to others only through it, is read by no other session
 *   before that is over (`exclusiveOf`): it is over when its lease is.
 */
import type { Recall } from "../../proto/gen/bigfs/v1/meta.js";
import { nameBytes } from "../../proto/name.js";
import { idIn, key, kindOf, nameIn, type Key } from "./keys.js";
import type { Change } from "./observed.js";

export type LeaseKey = Change["key"];

/** One session has a folder, and all names in it, to itself. */
export interface Exclusive {
  readonly session: number;
  readonly dir: number;
  /** live: it may be told of. recalled: no more, and others wait. over: others need not wait. */
  state: "live" | "recalled" | "over";
}

/** The object is the lease: a later one for the same row is another object. */
export interface Lease {
  readonly session: number;
  readonly key: LeaseKey;
  /** Id of the latest request whose answer tells of it. */
  request: number;
  recall: number;
  /** Of a folder: it is held exclusively. Of anything else: nobody else knows it but through such a folder. */
  exclusive: Exclusive | undefined;
}

/** A recall that its session has not confirmed. */
export interface PendingRecall {
  readonly number: number;
  readonly session: number;
  readonly message: Recall;
  readonly sinceMs: number;
  readonly leases: readonly Lease[];
}

export interface LeaseOptions {
  /** Of one session. */
  readonly leasesMax: number;
  /** Of all together, in equal shares. */
  readonly leasesTotal: number;
  /** After a recall, nobody may cache that inode, or names in that folder, for so long. */
  readonly contendedMs: number;
}

/** Leases that one eviction takes. */
const EVICTED = 1024;
/** So many contended inodes, and visited folders, are remembered before those whose time is over are looked for. */
const CONTENDED_MIN = 10_000;

export class Leases {
  readonly #holders = new Map<LeaseKey, Lease[]>();
  /**
   * Leases that are not being recalled, in the order in which their rows were first told of. (A lease that is renewed
   * keeps its place: a map entry that is removed and added again with each change leaves a hole each time, and a folder
   * that changes often would be looked for among thousands.)
   */
  readonly #bySession = new Map<number, Map<LeaseKey, Lease>>();
  readonly #pending = new Map<number, PendingRecall>();
  /** Inodes that several sessions use and change, and until when that counts. */
  readonly #contended = new Map<number, number>();
  /** Folders of which they change the same names. */
  readonly #contendedNames = new Map<number, number>();
  /** Folders that others looked at while one session had them exclusively, and until when nobody gets them so again. */
  readonly #visited = new Map<number, number>();
  /** How many names in a folder each session has leases of. */
  readonly #named = new Map<number, Map<number, number>>();
  #contendedMax = CONTENDED_MIN;
  #visitedMax = CONTENDED_MIN;
  #recalls = 0;

  constructor(private readonly opts: LeaseOptions) {}

  get size(): number {
    let size = 0;
    for (const leases of this.#bySession.values()) size += leases.size;
    return size;
  }

  get pending(): Iterable<PendingRecall> {
    return this.#pending.values();
  }

  /**
   * Several sessions use and change this inode or names in it, or (an entry) the same names in this folder: caching it
   * costs more than it saves.
   */
  isContended(key: LeaseKey, nowMs: number): boolean {
    const contended = kindOf(key) === "I" ? this.#contended : this.#contendedNames;
    return (contended.get(idIn(key)) ?? -Infinity) > nowMs;
  }

  grant(session: number, key: LeaseKey, request: number): Lease {
    const own = this.#of(session);
    const known = own.get(key);
    if (known !== undefined) {
      known.request = Math.max(known.request, request);
      return known;
    }
    const lease: Lease = { session, key, request, recall: 0, exclusive: undefined };
    own.set(key, lease);
    this.#countName(lease, 1);
    const holders = this.#holders.get(key);
    if (holders === undefined) this.#holders.set(key, [lease]);
    else holders.push(lease);
    return lease;
  }

  /** Whether it may still be told of. */
  holds(lease: Lease): boolean {
    return this.#bySession.get(lease.session)?.get(lease.key) === lease;
  }

  /** Gives the session a folder exclusively if nobody else caches it or a name in it. undefined: it has it not. */
  takeExclusively(session: number, dir: number, nowMs: number): Exclusive | undefined {
    const at = key.inode(dir);
    const lease = this.#bySession.get(session)?.get(at);
    if (lease === undefined || this.isContended(at, nowMs)) return undefined;
    const known = this.exclusiveTo(session, dir);
    if (known !== undefined) return known;
    const named = this.#named.get(dir);
    const isAlone = this.#isSole(lease) && (named === undefined || (named.size === 1 && named.has(session)));
    if (!isAlone || (this.#visited.get(dir) ?? -Infinity) > nowMs) return undefined;
    lease.exclusive = { session, dir, state: "live" };
    return lease.exclusive;
  }

  /** The session has the folder exclusively. */
  exclusiveTo(session: number, dir: number): Exclusive | undefined {
    const exclusive = this.#bySession.get(session)?.get(key.inode(dir))?.exclusive;
    return exclusive?.dir === dir && exclusive.state === "live" ? exclusive : undefined;
  }

  /** The inode, which a name in that folder leads to, is known to others only through it. False: it may not be. */
  enclose(lease: Lease, exclusive: Exclusive): boolean {
    if (exclusive.state !== "live" || !this.#isSole(lease)) return false;
    lease.exclusive = exclusive;
    return true;
  }

  /** Another session has this row to itself. */
  exclusiveOf(at: LeaseKey, reader: number): Exclusive | undefined {
    for (const { session, exclusive } of this.#holders.get(at) ?? []) {
      if (exclusive !== undefined && exclusive.state !== "over" && session !== reader) return exclusive;
    }
    return undefined;
  }

  /** Somebody else looks at it. Returns the recall to send, or the one that is under way. */
  endExclusive(
    exclusive: Exclusive,
    nowMs: number,
  ): { readonly recall: PendingRecall; readonly isFresh: boolean } | undefined {
    const lease = this.#holders.get(key.inode(exclusive.dir))?.find((held) => held.exclusive === exclusive);
    if (lease === undefined) return undefined;
    const pending = this.#pending.get(lease.recall);
    if (pending !== undefined) return { recall: pending, isFresh: false };
    this.#visited.set(exclusive.dir, nowMs + this.opts.contendedMs);
    if (this.#visited.size >= this.#visitedMax) {
      for (const [dir, until] of this.#visited) if (until <= nowMs) this.#visited.delete(dir);
      this.#visitedMax = Math.max(CONTENDED_MIN, 2 * this.#visited.size);
    }
    return { recall: this.#recall(exclusive.session, [{ lease, data: false }], nowMs), isFresh: true };
  }

  /**
   * A session (0: the daemon) has changed these rows. Returns the recalls to send, and those under way that the change
   * has to wait for as well. The session's own leases go on, but answers from before the change do not tell of them.
   */
  changed(
    changes: readonly Change[],
    by: number,
    nowMs: number,
  ): { readonly fresh: PendingRecall[]; readonly joined: PendingRecall[] } {
    const taken = new Map<number, { lease: Lease; data: boolean }[]>();
    const joined = new Set<PendingRecall>();
    for (const { key, data, gone } of changes) {
      const holders = this.#holders.get(key);
      if (holders === undefined) continue;
      for (const lease of [...holders]) {
        if (lease.session === by) this.#renew(lease, gone && kindOf(key) === "I");
        else if (lease.recall !== 0) joinTo(joined, this.#pending.get(lease.recall));
        else push(taken, lease.session, { lease, data });
        if (lease.session !== by) this.#contend(key, nowMs);
      }
    }
    const fresh = [...taken].map(([session, leases]) => this.#recall(session, leases, nowMs));
    return { fresh, joined: [...joined] };
  }

  /** Asks the session to write through what it writes to this file. It takes no lease. */
  share(session: number, ino: number, nowMs: number): PendingRecall {
    const recall = this.#recall(session, [], nowMs);
    recall.message.inodes.push({ ino, data: false, shared: true });
    return recall;
  }

  /** The oldest leases of a session that has too many, to be recalled. */
  evict(session: number, nowMs: number): PendingRecall | undefined {
    const own = this.#of(session);
    const share = this.opts.leasesTotal / this.#bySession.size;
    if (own.size <= Math.min(this.opts.leasesMax, share)) return undefined;
    const oldest: { lease: Lease; data: boolean }[] = [];
    for (const lease of own.values()) {
      oldest.push({ lease, data: true });
      if (oldest.length >= EVICTED) break;
    }
    return this.#recall(session, oldest, nowMs);
  }

  /** The session has dropped what the recall names. undefined: there is no such recall. */
  confirm(session: number, number: number): PendingRecall | undefined {
    const recall = this.#pending.get(number);
    if (recall?.session !== session) return undefined;
    this.#pending.delete(number);
    for (const lease of recall.leases) this.#remove(lease);
    return recall;
  }

  /**
   * The client caches nothing of the row, and had received all answers to requests below `answered`. What it has
   * exclusively it keeps until it is asked: what it did there may be under way.
   */
  forget(session: number, key: Key<"I">, answered: number): void {
    const lease = this.#bySession.get(session)?.get(key);
    if (lease === undefined || lease.request >= answered) return;
    if (lease.exclusive === undefined || lease.exclusive.state === "over") this.#drop(lease);
  }

  /** The session is over; what it was asked for is as good as confirmed. */
  end(session: number): PendingRecall[] {
    const over = [...this.#pending.values()].filter((recall) => recall.session === session);
    for (const recall of over) this.confirm(session, recall.number);
    for (const lease of this.#bySession.get(session)?.values() ?? []) this.#remove(lease);
    this.#bySession.delete(session);
    return over;
  }

  #of(session: number): Map<LeaseKey, Lease> {
    const known = this.#bySession.get(session);
    if (known !== undefined) return known;
    const own = new Map<LeaseKey, Lease>();
    this.#bySession.set(session, own);
    return own;
  }

  #renew(lease: Lease, isGone: boolean): void {
    if (lease.recall !== 0) return;
    if (isGone) {
      this.#drop(lease);
      return;
    }
    const renewed: Lease = { ...lease };
    this.#bySession.get(lease.session)?.set(lease.key, renewed);
    const holders = this.#holders.get(lease.key);
    holders?.splice(holders.indexOf(lease), 1, renewed);
  }

  #recall(session: number, taken: readonly { lease: Lease; data: boolean }[], nowMs: number): PendingRecall {
    const number = ++this.#recalls;
    const message: Recall = { number, inodes: [], entries: [] };
    for (const { lease, data } of taken) {
      lease.recall = number;
      if (isFolderOf(lease)) lease.exclusive.state = "recalled";
      this.#bySession.get(session)?.delete(lease.key);
      if (kindOf(lease.key) === "I") message.inodes.push({ ino: idIn(lease.key), data });
      else message.entries.push({ dir: idIn(lease.key), name: nameBytes(nameIn(lease.key as Key<"E">)) });
    }
    const recall = { number, session, message, sinceMs: nowMs, leases: taken.map(({ lease }) => lease) };
    this.#pending.set(number, recall);
    return recall;
  }

  #contend(key: LeaseKey, nowMs: number): void {
    const untilMs = nowMs + this.opts.contendedMs;
    this.#contended.set(idIn(key), untilMs);
    if (kindOf(key) === "E") this.#contendedNames.set(idIn(key), untilMs);
    if (this.#contended.size < this.#contendedMax) return;
    for (const contended of [this.#contended, this.#contendedNames]) {
      for (const [ino, until] of contended) if (until <= nowMs) contended.delete(ino);
    }
    this.#contendedMax = Math.max(CONTENDED_MIN, 2 * this.#contended.size);
  }

  #drop(lease: Lease): void {
    this.#bySession.get(lease.session)?.delete(lease.key);
    this.#remove(lease);
  }

  #isSole({ key: at, session }: Lease): boolean {
    return this.#holders.get(at)?.every((held) => held.session === session) === true;
  }

  #countName({ session, key: at }: Lease, change: 1 | -1): void {
    if (kindOf(at) !== "E") return;
    const dir = idIn(at);
    const named = this.#named.get(dir) ?? new Map<number, number>();
    const count = (named.get(session) ?? 0) + change;
    if (count > 0) named.set(session, count);
    else named.delete(session);
    if (named.size > 0) this.#named.set(dir, named);
    else this.#named.delete(dir);
  }

  #remove(lease: Lease): void {
    if (isFolderOf(lease)) lease.exclusive.state = "over";
    this.#countName(lease, -1);
    const left = this.#holders.get(lease.key)?.filter((other) => other !== lease) ?? [];
    if (left.length === 0) this.#holders.delete(lease.key);
    else this.#holders.set(lease.key, left);
  }
}

/** It is the folder's own lease, not that of something in it. */
function isFolderOf(lease: Lease): lease is Lease & { readonly exclusive: Exclusive } {
  return lease.exclusive?.dir === idIn(lease.key) && kindOf(lease.key) === "I";
}

function push<T>(lists: Map<number, T[]>, at: number, item: T): void {
  const list = lists.get(at);
  if (list === undefined) lists.set(at, [item]);
  else list.push(item);
}

function joinTo(joined: Set<PendingRecall>, recall: PendingRecall | undefined): void {
  if (recall !== undefined) joined.add(recall);
}
