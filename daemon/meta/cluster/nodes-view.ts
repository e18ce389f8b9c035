import type { NodeMap } from "../../../proto/gen/bigfs/v1/node.js";
import type { Membership } from "./membership.js";

/** What the rules about copies may know of the nodes. */
export interface NodesView {
  readonly map: () => NodeMap;
  /** Its copies count as present. */
  readonly isLive: (node: number) => boolean;
  /** It gets no new copies, and those that it has shall be elsewhere. */
  readonly isDraining: (node: number) => boolean;
  /** HOST:PORT while it can be read from. */
  readonly addressOf: (node: number) => string | undefined;
}

export function viewOf(membership: Pick<Membership, "map" | "isLive" | "get">): NodesView {
  return {
    map: () => membership.map(),
    isLive: (node) => membership.isLive(node),
    isDraining: (node) => membership.get(node)?.row.draining === true,
    addressOf: (node) => {
      const member = membership.get(node);
      return member?.link === undefined ? undefined : member.row.address;
    },
  };
}
