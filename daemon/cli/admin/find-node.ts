import type { NodeInfo } from "../../../proto/gen/bigfs/v1/node.js";
import { FsError } from "../../../proto/errno.js";
import type { ClusterAddress } from "../shared-options.js";
import { fetchStatus } from "./ask.js";

/** The node of that id or name. ENOENT; EINVAL: several have that name. */
export async function findNode(address: ClusterAddress, wanted: string): Promise<NodeInfo> {
  const { nodes } = await fetchStatus(address);
  const found = nodes.find(({ id }) => `${id}` === wanted);
  if (found !== undefined) return found;
  // Daemons choose names themselves, and may choose the same.
  const [one, ...others] = nodes.filter(({ name }) => name === wanted);
  if (one !== undefined && others.length === 0) return one;
  if (one !== undefined) {
    const ids = [one, ...others].map(({ id }) => id).join(", ");
    throw new FsError("EINVAL", `several nodes have the name '${wanted}': give the id of one (${ids})`);
  }
  const names = nodes.map(({ id, name }) => `${id} (${name})`).join(", ");
  throw new FsError("ENOENT", `there is no node '${wanted}'; there are: ${names || "none"}`);
}
