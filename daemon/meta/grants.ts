import type { Attr, Changed, EntryReply } from "../../proto/gen/bigfs/v1/meta.js";
import type { InodeRow } from "../../proto/gen/bigfs/v1/rows.js";
import { nameOf } from "../../proto/name.js";
import type { Clock } from "../common/clock.js";
import type { AnswerOp } from "./connection.js";
import { key, type Key } from "./keys.js";
import type { Exclusive, Lease, LeaseKey, Leases } from "./leases.js";
import type { Observed } from "./observed.js";
import type { Opens } from "./opens.js";
import type { Recalls } from "./recalls.js";
import type { RequestOp } from "./requests.js";
import { attrOf } from "./rules/inodes.js";
import { S_IFDIR, S_IFMT, isDir } from "./rules/modes.js";

/** The leases that an answer would tell of. */
export interface Grant {
  readonly inode: Lease | undefined;
  readonly entry: Lease | undefined;
  /** The name that a rename has left. */
  readonly from: Lease | undefined;
  /** Other inodes that an operation on names has changed. */
  readonly changed: readonly { readonly attr: Attr; readonly lease: Lease }[];
  /** Folders that several sessions change. */
  readonly shared: readonly Attr[];
  /** `inode` is a folder that the session has exclusively, or known to others only through one. */
  readonly exclusive: Exclusive | undefined;
}

/** The leases of a page of a folder; undefined: they may not be cached. */
export interface PageGrant {
  readonly names: readonly Lease[] | undefined;
  /** Of the inodes that are there, in the order of the page. */
  readonly inodes: readonly Lease[] | undefined;
  readonly exclusive: Exclusive | undefined;
}

export interface GrantsParts {
  readonly leases: Leases;
  readonly recalls: Recalls;
  readonly clock: Clock;
  readonly opens: Opens;
  /** For how long a folder that several sessions change may be shown without a lease. */
  readonly sharedFolderMs: number;
}

/** Gives leases with the answers of operations. */
export class Grants {
  constructor(private readonly parts: GrantsParts) {}

  /** In the turn in which the rule has read or written the rows that the answer shows. */
  give(session: number, request: number, op: RequestOp, answer: AnswerOp, seen: Observed): Grant {
    const place = placeOf(op, answer);
    const ino = inodeOf(answer);
    const { leases, recalls, clock } = this.parts;
    const nowMs = clock.monotonicMs();
    const grant = (at: LeaseKey): Lease | undefined =>
      leases.isContended(at, nowMs) ? undefined : leases.grant(session, at, request);
    // Also in a folder that others change, as long as they use other names.
    const entry = place === undefined ? undefined : grant(key.entry(place.dir, nameOf(place.name)));
    const left = place !== undefined && op.$case === "rename" ? op.value : undefined;
    const from = left === undefined ? undefined : grant(key.entry(left.fromDir, nameOf(left.fromName)));
    const isFree = place === undefined || entry !== undefined;
    // Who has a file open that others write is told of each write, before that is answered.
    const isTold = ino !== undefined && this.parts.opens.isShared(ino);
    const lease = (at: Key<"I">) => (isTold ? leases.grant(session, at, request) : grant(at));
    const inode = ino !== undefined && isFree ? lease(key.inode(ino)) : undefined;
    const changed: { attr: Attr; lease: Lease }[] = [];
    const shared: Attr[] = [];
    for (const row of isOnNames(op) ? seen.inodes() : []) {
      if (row.ino === ino) continue;
      const lease = grant(key.inode(row.ino));
      if (lease !== undefined) changed.push({ attr: attrOf(row), lease });
      else if (isDir(row)) shared.push(attrOf(row));
    }
    const row = attrIn(answer);
    const exclusive = inode && row && this.#exclusively(inode, place?.dir, { isNew: op.$case === "make", ...row });
    if (entry !== undefined || inode !== undefined || changed.length > 0) recalls.evict(session);
    return { inode, entry, from, changed, shared, exclusive };
  }

  /** Of a new folder, which nobody else knows; of others as it is. Of what is in one: as long as nobody else has it. */
  #exclusively(
    lease: Lease,
    dir: number | undefined,
    { ino, mode, isNew }: { readonly ino: number; readonly mode: number; readonly isNew: boolean },
  ): Exclusive | undefined {
    const { leases, clock, opens } = this.parts;
    const { session } = lease;
    if ((mode & S_IFMT) === S_IFDIR) {
      return isNew ? leases.takeExclusively(session, ino, clock.monotonicMs()) : leases.exclusiveTo(session, ino);
    }
    const exclusive = dir === undefined ? undefined : leases.exclusiveTo(session, dir);
    if (exclusive === undefined || opens.isOpenElsewhere(session, ino)) return undefined;
    return leases.enclose(lease, exclusive) ? exclusive : undefined;
  }

  /** Of a page of a folder: all of its names, unless one has changed, and the inodes that are shown. */
  givePage(
    session: number,
    request: number,
    page: {
      readonly dir: number;
      readonly names: readonly Buffer[] | undefined;
      readonly inodes: readonly Readonly<InodeRow>[];
      /** The session changes nothing. */
      readonly isReadOnly: boolean;
    },
  ): PageGrant {
    const { leases, recalls, clock } = this.parts;
    const { dir, names, inodes, isReadOnly } = page;
    const nowMs = clock.monotonicMs();
    if (leases.isContended(key.inode(dir), nowMs)) return NOTHING;
    const given = {
      names: names?.map((name) => leases.grant(session, key.entry(dir, nameOf(name)), request)),
      inodes: inodes.map(({ ino }) => leases.grant(session, key.inode(ino), request)),
    };
    // Whoever lists a folder is likely to do something with it.
    const exclusive = isReadOnly ? undefined : leases.takeExclusively(session, dir, nowMs);
    given.inodes.forEach((lease, i) => {
      const row = inodes[i];
      if (row !== undefined) this.#exclusively(lease, dir, { isNew: false, ...row });
    });
    recalls.evict(session);
    return { ...given, exclusive };
  }

  /** It may be told that the session has this exclusively. */
  isExclusive(lease: Lease | undefined): boolean {
    return lease !== undefined && this.isHeld(lease) && lease.exclusive?.state === "live";
  }

  /** The answer with what it may tell of these leases. */
  told(answer: AnswerOp, grant: Grant | undefined): AnswerOp {
    if (grant === undefined) return answer;
    const { inode, entry, from, changed, shared, exclusive } = grant;
    const shownMs = this.parts.sharedFolderMs;
    const attrs = changed.filter(({ lease }) => this.isHeld(lease)).map(({ attr }) => attr);
    const isCached = {
      inode: this.isHeld(inode),
      entry: this.isHeld(entry),
      from: this.isHeld(from),
      exclusive: this.isHeld(inode) && exclusive?.state === "live",
    };
    const told = attrs.length + shared.length === 0 ? undefined : { attrs, shared: [...shared], shownMs };
    return flagged(answer, isCached, told, inode === undefined ? shownMs : 0);
  }

  /** Who changes the mode or owner of a shared folder is answered when the old ones are shown nowhere any more. */
  unshown(op: RequestOp): Promise<void> | undefined {
    if (op.$case !== "setattr") return undefined;
    const { ino, mode, uid, gid } = op.value;
    const { leases, clock, sharedFolderMs } = this.parts;
    const isChanged = mode !== undefined || uid !== undefined || gid !== undefined;
    if (!isChanged || !leases.isContended(key.inode(ino), clock.monotonicMs() - sharedFolderMs)) return undefined;
    return new Promise((resolve) => clock.after(sharedFolderMs, resolve));
  }

  isHeld(lease: Lease | undefined): boolean {
    return lease !== undefined && this.parts.leases.holds(lease);
  }
}

const NOTHING: PageGrant = { names: undefined, inodes: undefined, exclusive: undefined };

/** The name whose entry the answer shows. */
function placeOf(op: RequestOp, answer: AnswerOp): { readonly dir: number; readonly name: Buffer } | undefined {
  if (op.$case === "make" && op.value.unnamed === true) return undefined;
  if (op.$case === "lookup" || op.$case === "make" || op.$case === "link") return op.value;
  if (op.$case !== "rename" || answer.$case !== "rename" || answer.value.moved === 0) return undefined;
  return { dir: op.value.intoDir, name: op.value.intoName };
}

/** Its answer tells of the folders. */
function isOnNames(op: RequestOp): boolean {
  return ["make", "link", "unlink", "rmdir", "rename"].includes(op.$case);
}

/** The inode that an answer shows the attributes of. */
export function inodeOf(answer: AnswerOp): number | undefined {
  return attrIn(answer)?.ino;
}

function attrIn(answer: AnswerOp): Attr | undefined {
  switch (answer.$case) {
    case "lookup":
    case "getattr":
    case "setattr":
    case "make":
    case "link":
    case "open":
    case "slots":
    case "commit":
    case "compact":
    case "fallocate":
    case "copyrange":
      return answer.value.attr;
    default:
      return undefined;
  }
}

function flagged(
  answer: AnswerOp,
  isCached: { readonly inode: boolean; readonly entry: boolean; readonly from: boolean; readonly exclusive: boolean },
  changed: Changed | undefined,
  shownMs: number,
): AnswerOp {
  const { inode: cached, entry: entryCached, exclusive } = isCached;
  const entry = (value: EntryReply) => ({ ...value, cached, entryCached, changed, exclusive });
  switch (answer.$case) {
    case "lookup":
      return { $case: "lookup", value: entry(answer.value) };
    case "make":
      return { $case: "make", value: entry(answer.value) };
    case "link":
      return { $case: "link", value: entry(answer.value) };
    case "unlink":
      return { $case: "unlink", value: { changed } };
    case "rmdir":
      return { $case: "rmdir", value: { changed } };
    case "rename":
      return {
        $case: "rename",
        value: { changed, moved: answer.value.moved, fromCached: isCached.from, intoCached: entryCached },
      };
    case "getattr": {
      const isFolder = ((answer.value.attr?.mode ?? 0) & S_IFMT) === S_IFDIR;
      return { $case: "getattr", value: { ...answer.value, cached, shownMs: isFolder ? shownMs : 0 } };
    }
    case "setattr":
      return { $case: "setattr", value: { ...answer.value, cached } };
    case "fallocate":
      return { $case: "fallocate", value: { ...answer.value, cached } };
    case "copyrange":
      return { $case: "copyrange", value: { ...answer.value, cached } };
    case "slots":
      return { $case: "slots", value: { ...answer.value, cached } };
    case "commit":
      return { $case: "commit", value: { ...answer.value, cached } };
    case "compact":
      return { $case: "compact", value: { ...answer.value, cached } };
    case "open": {
      const { slots } = answer.value;
      return { $case: "open", value: { ...answer.value, cached, slots: slots && { ...slots, cached } } };
    }
    default:
      return answer;
  }
}
