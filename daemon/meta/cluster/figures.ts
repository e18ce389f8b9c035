import type { NodeInfo } from "../../../proto/gen/bigfs/v1/node.js";
import type { Census } from "./census.js";
import type { Cleaning } from "./cleaning.js";
import type { ClusterView } from "./cluster-metrics.js";
import type { Member } from "./member.js";
import type { Membership } from "./membership.js";
import type { PendingCopies } from "./pending-copies.js";
import type { Shortage } from "./shortage.js";
import type { SurplusCopies } from "./surplus.js";
import type { UnsyncedCopies } from "./unsynced-copies.js";

export interface ClusterStatus {
  readonly nodes: readonly NodeInfo[];
  readonly chunks: number;
  /** Copies that were assigned and not confirmed. */
  readonly pending: number;
  /** Seconds since the oldest of them was. */
  readonly oldestPendingSec: number;
  /** Chunks with a copy that is not fsynced. */
  readonly unsynced: number;
  /** Seconds since the oldest of them came. */
  readonly oldestUnsyncedSec: number;
  /** Chunks with fewer live copies than the volume wants. */
  readonly underReplicated: number;
  readonly surplus: number;
  readonly garbage: number;
}

export interface FiguresParts {
  readonly membership: Pick<Membership, "all">;
  readonly census: Census;
  readonly pending: PendingCopies;
  readonly unsynced: UnsyncedCopies;
  readonly shortage: Pick<Shortage, "size">;
  readonly surplus: Pick<SurplusCopies, "size">;
  readonly cleaning: Pick<Cleaning, "garbage">;
}

/** What the storage side has counted: for people, and for metrics. */
export class Figures {
  constructor(private readonly parts: FiguresParts) {}

  status(): ClusterStatus {
    const { membership, census, pending, unsynced, shortage, surplus, cleaning } = this.parts;
    return {
      nodes: [...membership.all()].map((member) => this.infoOf(member)),
      chunks: census.chunks,
      pending: pending.size,
      oldestPendingSec: Math.round(pending.oldestMs / 1000),
      unsynced: unsynced.size,
      oldestUnsyncedSec: Math.round(unsynced.oldestMs / 1000),
      underReplicated: shortage.size,
      surplus: surplus.size,
      garbage: cleaning.garbage,
    };
  }

  infoOf(member: Member): NodeInfo {
    return { ...member.info(), copies: this.parts.census.copiesOn(member.id) };
  }

  view(): ClusterView {
    const { membership, census, pending, shortage, cleaning } = this.parts;
    return {
      nodesByState: () => {
        const counts = new Map<string, number>();
        for (const { state } of membership.all()) counts.set(state.kind, (counts.get(state.kind) ?? 0) + 1);
        return counts;
      },
      chunks: () => census.chunks,
      pending: () => pending.size,
      oldestPendingSec: () => pending.oldestMs / 1000,
      confirmedPercent: () => {
        const assigned = census.confirmed + pending.size;
        return assigned === 0 ? 100 : (100 * census.confirmed) / assigned;
      },
      underReplicated: () => shortage.size,
      garbage: () => cleaning.garbage,
    };
  }
}
