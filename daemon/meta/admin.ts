import type { Logger } from "pino";
import { FsError, errnoOf } from "../../proto/errno.js";
import type { AdminReply, AdminRequest, StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import type { VolumeRow } from "../../proto/gen/bigfs/v1/rows.js";
import type { Link } from "../common/rpc/link.js";
import type { Cluster } from "./cluster/cluster.js";
import type { Executor } from "./executor.js";
import { key } from "./keys.js";
import type { Opens } from "./opens.js";
import type { Phases } from "./phases.js";
import type { Sessions } from "./sessions.js";

export interface AdminParts {
  readonly executor: Executor;
  readonly cluster: Pick<Cluster, "status">;
  readonly log: Logger;
  readonly opens: Opens;
  readonly phases: Phases;
  readonly sessions: Sessions;
  readonly volume: Readonly<VolumeRow>;
}

/** Answers administration. */
export class Admin {
  constructor(private readonly parts: AdminParts) {}

  accept(link: Link<AdminReply, AdminRequest>): void {
    link.open({
      message: (request) => void this.#answer(link, request),
      closed: () => undefined,
    });
  }

  async status(): Promise<StatusReply> {
    const { executor, cluster, opens, phases, sessions, volume } = this.parts;
    const { value: usage } = await executor.execute(0, (tx) => tx.get(key.usage));
    const { nodes, ...counts } = cluster.status();
    return {
      volume: volume.uuid,
      phase: phases.phase.kind,
      incarnation: volume.incarnation,
      chunkSize: volume.chunkSize,
      replicas: volume.replicas,
      minReplicas: volume.minReplicas,
      inodes: usage?.inodes ?? 0,
      bytes: usage?.bytes ?? 0,
      ...counts,
      nodes: [...nodes],
      sessions: [...sessions.all()].map((session) => ({
        id: session.id,
        name: session.name,
        connected: session.connection !== undefined,
        openFiles: opens.countOf(session.id),
      })),
    };
  }

  async #answer(link: Link<AdminReply, AdminRequest>, { id, op }: AdminRequest): Promise<void> {
    try {
      if (op?.$case !== "status") throw new FsError("ENOSYS", "this daemon does not know that request");
      link.send({ id, errno: "", detail: "", op: { $case: "status", value: await this.status() } });
    } catch (error) {
      const detail = error instanceof FsError ? error.detail : "internal error";
      link.send({ id, errno: errnoOf(error), detail, op: undefined });
      if (!(error instanceof FsError)) this.parts.log.error({ err: error }, "an administration request failed");
    }
  }
}
