import type { EntryReply } from "../../proto/gen/bigfs/v1/meta.js";
import { nameOf } from "../../proto/name.js";
import type { Clock } from "../common/clock.js";
import type { AnswerOp } from "./connection.js";
import { key } from "./keys.js";
import type { Lease, Leases } from "./leases.js";
import type { Recalls } from "./recalls.js";
import type { RequestOp } from "./requests.js";

/** The leases that an answer would tell of. */
export interface Grant {
  readonly inode: Lease | undefined;
  readonly entry: Lease | undefined;
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
  give(session: number, request: number, op: RequestOp, answer: AnswerOp): Grant {
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
    if (entry !== undefined || inode !== undefined) recalls.evict(session);
    return { inode, entry };
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

  isHeld(lease: Lease | undefined): boolean {
    return lease !== undefined && this.parts.leases.holds(lease);
  }
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

/** The answer with its flags set. */
export function flagged(answer: AnswerOp, cached: boolean, entryCached: boolean): AnswerOp {
  const entry = (value: EntryReply) => ({ ...value, cached, entryCached });
  switch (answer.$case) {
    case "lookup":
      return { $case: "lookup", value: entry(answer.value) };
    case "make":
      return { $case: "make", value: entry(answer.value) };
    case "link":
      return { $case: "link", value: entry(answer.value) };
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
