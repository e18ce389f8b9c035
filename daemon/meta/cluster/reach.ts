import { type Errno, FsError, errnoFromWire, errnoOf, fail } from "../../../proto/errno.js";
import type { ChunkMessage } from "../../../proto/chunk-codec.js";
import { NO_PAYLOAD } from "../../../proto/chunk-codec.js";
import type { Join } from "../../../proto/gen/bigfs/v1/node.js";
import type { ChunkReply } from "../../../proto/gen/bigfs/v1/store.js";
import type { DialOptions } from "../../common/rpc/client.js";
import { CHUNKS } from "../../common/rpc/kinds.js";
import { grpc, type Network } from "../../common/rpc/network.js";

/**
 * Rejects EADDRNOTAVAIL when another storage daemon answers at the address that others are to reach this node by, and,
 * with `mustAnswer`, when it does not answer there itself.
 */
export type Reach = (node: Pick<Join, "uuid" | "address">, opts: { readonly mustAnswer: boolean }) => Promise<void>;

const NO_ANSWER: ReadonlySet<Errno> = new Set(["ECONNREFUSED", "ETIMEDOUT", "EIO"]);

export interface ReachOptions extends Omit<DialOptions, "role"> {
  readonly volume: string;
  readonly network?: Network;
}

/** Calls the node, as mounts and other nodes will. */
export function reachAs(opts: ReachOptions): Reach {
  return async ({ uuid, address }, { mustAnswer }) => {
    let found: string;
    try {
      found = await uuidAt(address, uuid, opts);
    } catch (error) {
      if (!mustAnswer && NO_ANSWER.has(errnoOf(error))) return;
      const why = error instanceof FsError && error.detail !== "" ? error.detail : errnoOf(error);
      throw new FsError("EADDRNOTAVAIL", `it says that it is reached at ${address}, but: ${why}`, { cause: error });
    }
    // Builds before this question do not answer it.
    if (found !== "" && found !== uuid) {
      fail("EADDRNOTAVAIL", `it says that it is reached at ${address}, but another storage daemon answers there`);
    }
  };
}

/** That one, when the daemon there has such a folder; otherwise that of another folder, or empty. */
async function uuidAt(address: string, uuid: string, { network = grpc, ...opts }: ReachOptions): Promise<string> {
  const link = await network.dial(CHUNKS, address, { ...opts, role: "meta" });
  let cancel = () => {};
  try {
    const { header } = await new Promise<ChunkMessage<ChunkReply>>((message, closed) => {
      cancel = opts.clock.after(opts.connectMs, () => closed(new FsError("ETIMEDOUT", `no answer from ${address}`)));
      link.open({ message, closed });
      link.send({ header: { id: 1, op: { $case: "locate", value: { uuid } } }, payload: NO_PAYLOAD });
    });
    if (header.errno !== "") throw new FsError(errnoFromWire(header.errno), header.detail);
    return header.uuid;
  } finally {
    cancel();
    link.close();
  }
}
