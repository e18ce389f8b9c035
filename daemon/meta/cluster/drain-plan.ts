import { fail } from "../../../proto/errno.js";
import { formatSize } from "../../common/sizes.js";

/** What the decision to empty a node rests on. */
export interface DrainFacts {
  readonly name: string;
  /** Copies that some chunk needs. */
  readonly wanted: number;
  /** Bytes on this node and on those that are drained already. */
  readonly bytes: number;
  /** The nodes that would be left: live, and not drained. */
  readonly rest: readonly { readonly capacity: number; readonly used: number }[];
}

/** EBUSY: too few nodes would be left for the copies of some chunk. ENOSPC: what is on the node has no room on them. */
export function mustBeDrainable({ name, wanted, bytes, rest }: DrainFacts): void {
  if (rest.length < wanted) {
    const left = `${rest.length} node${rest.length === 1 ? "" : "s"}`;
    fail("EBUSY", `without ${name} ${left} would be left for ${wanted} copies: start another storage daemon first`);
  }
  const room = rest.reduce((sum, node) => sum + Math.max(0, node.capacity - node.used), 0);
  if (bytes > room) {
    const [needed, free] = [formatSize(bytes), formatSize(room)];
    fail("ENOSPC", `${needed} would have to move off ${name}, and the other nodes have ${free} left: add space first`);
  }
}
