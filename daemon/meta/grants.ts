import type { Attr, Changed, EntryReply } from "../../proto/gen/bigfs/v1/meta.js";
import { nameOf } from "../../proto/name.js";
import type { Clock } from "../common/clock.js";
import type { AnswerOp } from "./connection.js";
import { key } from "./keys.js";
import type { Lease, Leases } from "./leases.js";
import type { Observed } from "./observed.js";
import type { Recalls } from "./recalls.js";
import type { RequestOp } from "./requests.js";
import { attrOf } from "./rules/inodes.js";

/** The leases that an answer would tell of. */
export interface Grant {
  readonly inode: Lease | undefined;
  readonly entry: Lease | undefined;
  /** Other inodes that an operation on names has changed. */
  readonly changed: readonly { readonly attr: Attr; readonly lease: Lease }[];
}

export interface GrantsParts {
  readonly leases: Leases;
  readonly recalls: Recalls;
  readonly clock: Clock;
}

/** Gives leases with the answers of operations. */
export class Grants {
  constructor(private readonly parts: GrantsParts) {}

  /** In the turn in which the rule has read or written the rows that the answer shows. */
  give(session: number, request: number, op: RequestOp, answer: AnswerOp, seen: Observed): Grant {
    const place = op.$case === "lookup" || op.$case === "make" || op.$case === "link" ? op.value : undefined;
    const ino = inodeOf(answer);
    const { leases, recalls, clock } = this.parts;
    const nowMs = clock.monotonicMs();
    const isFree = place === undefined || !leases.isContended(place.dir, nowMs);
    const entry =
      place !== undefined && isFree
        ? leases.grant(session, key.entry(place.dir, nameOf(place.name)), request)
        : undefined;
    const inode =
      ino !== undefined && isFree && !leases.isContended(ino, nowMs)
        ? leases.grant(session, key.inode(ino), request)
        : undefined;
    const changed: { attr: Attr; lease: Lease }[] = [];
    for (const row of isOnNames(op) ? seen.inodes() : []) {
      if (row.ino === ino || leases.isContended(row.ino, nowMs)) continue;
      changed.push({ attr: attrOf(row), lease: leases.grant(session, key.inode(row.ino), request) });
    }
    if (entry !== undefined || inode !== undefined || changed.length > 0) recalls.evict(session);
    return { inode, entry, changed };
  }

  /** Of a page of a folder: all of its names and, with attributes, inodes; undefined when they may not be cached. */
  givePage(
    session: number,
    request: number,
    page: { readonly dir: number; readonly names: readonly Buffer[]; readonly inos: readonly number[] },
  ): Lease[] | undefined {
    const { leases, recalls, clock } = this.parts;
    if (leases.isContended(page.dir, clock.monotonicMs())) return undefined;
    const given: Lease[] = [];
    for (const name of page.names) given.push(leases.grant(session, key.entry(page.dir, nameOf(name)), request));
    for (const ino of page.inos) given.push(leases.grant(session, key.inode(ino), request));
    recalls.evict(session);
    return given;
  }

  /** The answer with what it may tell of these leases. */
  told(answer: AnswerOp, grant: Grant | undefined): AnswerOp {
    if (grant === undefined) return answer;
    const { inode, entry, changed } = grant;
    const attrs = changed.filter(({ lease }) => this.isHeld(lease)).map(({ attr }) => attr);
    const isCached = { inode: this.isHeld(inode), entry: this.isHeld(entry) };
    return flagged(answer, isCached, attrs.length === 0 ? undefined : { attrs });
  }

  isHeld(lease: Lease | undefined): boolean {
    return lease !== undefined && this.parts.leases.holds(lease);
  }
}

/** Its answer tells of the folders. */
function isOnNames(op: RequestOp): boolean {
  return ["make", "link", "unlink", "rmdir", "rename"].includes(op.$case);
}

/** The inode that an answer shows the attributes of. */
export function inodeOf(answer: AnswerOp): number | undefined {
  switch (answer.$case) {
    case "lookup":
    case "getattr":
    case "setattr":
    case "make":
    case "link":
    case "open":
    case "slots":
    case "commit":
    case "fallocate":
    case "copyrange":
      return answer.value.attr?.ino;
    default:
      return undefined;
  }
}

function flagged(
  answer: AnswerOp,
  isCached: { readonly inode: boolean; readonly entry: boolean },
  changed: Changed | undefined,
): AnswerOp {
  const { inode: cached, entry: entryCached } = isCached;
  const entry = (value: EntryReply) => ({ ...value, cached, entryCached, changed });
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
      return { $case: "rename", value: { changed } };
    case "getattr":
      return { $case: "getattr", value: { ...answer.value, cached } };
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
    case "open": {
      const { slots } = answer.value;
      return { $case: "open", value: { ...answer.value, cached, slots: slots && { ...slots, cached } } };
    }
    default:
      return answer;
  }
}
