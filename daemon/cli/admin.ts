import type { AdminReply, AdminRequest, StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { FsError, errnoFromWire } from "../../proto/errno.js";
import { systemClock } from "../common/clock.js";
import { DEADLINES } from "../common/deadlines.js";
import { dial } from "../common/rpc/client.js";
import { ADMIN } from "../common/rpc/kinds.js";
import type { Link } from "../common/rpc/link.js";
import type { ClusterAddress } from "./shared-options.js";

/** The state of the cluster, asked once. */
export async function fetchStatus(address: ClusterAddress): Promise<StatusReply> {
  const reply = await ask(address, { $case: "status", value: {} });
  if (reply.op?.$case !== "status")
    throw new FsError("EPROTO", `${address.meta} answered something else than a status`);
  return reply.op.value;
}

async function ask(address: ClusterAddress, op: NonNullable<AdminRequest["op"]>): Promise<AdminReply> {
  const link: Link<AdminRequest, AdminReply> = await dial(ADMIN, address.meta, {
    key: address.key,
    role: "admin",
    connectMs: DEADLINES.connectMs,
    clock: systemClock,
  });
  let cancel = () => {};
  try {
    const reply = await new Promise<AdminReply>((resolve, reject) => {
      cancel = systemClock.after(DEADLINES.chunkMs, () =>
        reject(new FsError("ETIMEDOUT", `no answer from ${address.meta}`)),
      );
      link.open({ message: resolve, closed: reject });
      link.send({ id: 1, op });
    });
    if (reply.errno !== "") throw new FsError(errnoFromWire(reply.errno), reply.detail);
    return reply;
  } finally {
    cancel();
    link.close();
  }
}
