import type { Logger } from "pino";
import { FsError, errnoOf, fail } from "../../proto/errno.js";
import type { AdminReply, AdminRequest, SetVolume, StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import type { Clock } from "../common/clock.js";
import type { Link } from "../common/rpc/link.js";
import type { Shipper } from "./backup/shipper.js";
import type { Cluster } from "./cluster/cluster.js";
import type { Executor } from "./executor.js";
import type { Mender } from "./fsck/mender.js";
import { key } from "./keys.js";
import type { MetaStore } from "./metastore.js";
import { isLong, longAnswer, type LongOp } from "./long-answers.js";
import type { Opens } from "./opens.js";
import type { Phases } from "./phases.js";
import type { Recount } from "./recount.js";
import type { Requests } from "./requests.js";
import { explain } from "./rules/explain.js";
import { setVolume } from "./rules/volume.js";
import type { Service } from "./service.js";
import type { Sessions } from "./sessions.js";
import type { DialStore } from "./store-calls.js";
import type { LiveVolume } from "./volume-start.js";

export interface AdminParts {
  readonly clock: Clock;
  readonly executor: Executor;
  readonly cluster: Pick<
    Cluster,
    "status" | "setNode" | "removeNode" | "scrubNode" | "settingsChanged" | "cleaningDue"
  >;
  readonly log: Logger;
  readonly opens: Opens;
  readonly recount: Pick<Recount, "set" | "left">;
  /** Goes on with what `recount` has to do. */
  readonly recountSoon: () => void;
  readonly phases: Phases;
  readonly requests: Pick<Requests, "rate">;
  readonly sessions: Sessions;
  readonly service: Pick<Service, "copiesChanged">;
  readonly volume: LiveVolume;
  readonly store: Pick<MetaStore, "snapshot">;
  readonly shipper: Pick<Shipper, "status"> | undefined;
  readonly dialStore: DialStore;
  readonly mender: Mender;
  /** Who takes nothing of a long answer for so long is hung up on. */
  readonly stuckMs: number;
}

type Op = NonNullable<AdminRequest["op"]>;

/** Answers administration. */
export class Admin {
  constructor(private readonly parts: AdminParts) {}

  accept(link: Link<AdminReply, AdminRequest>): void {
    const over = new AbortController();
    link.open({
      message: (request) => void this.#answer(link, request, over.signal),
      closed: () => over.abort(),
    });
  }

  async status(): Promise<StatusReply> {
    const { executor, clock, cluster, opens, phases, requests, sessions, volume } = this.parts;
    const { value: usage } = await executor.execute(0, (tx) => tx.get(key.usage));
    const { nodes, ...counts } = cluster.status();
    return {
      volume: volume.uuid,
      phase: phases.phase.kind,
      incarnation: volume.incarnation,
      chunkSize: volume.chunkSize,
      replicas: volume.replicas,
      minReplicas: volume.minReplicas,
      cleaning: !volume.cleaningOff,
      backup: this.parts.shipper?.status,
      inodes: usage?.inodes ?? 0,
      bytes: usage?.bytes ?? 0,
      ...counts,
      rebalance: volume.noRebalance !== true,
      recounting: await this.parts.recount.left(),
      requestsPerSecond: requests.rate.perSecond,
      nodes: [...nodes],
      sessions: [...sessions.all()].map((session) => ({
        id: session.id,
        name: session.name,
        connected: session.connection !== undefined,
        openFiles: opens.countOf(session.id),
        address: session.connection?.address ?? "",
        readOnly: session.readOnly,
        silentMs: Math.round(clock.monotonicMs() - session.heardMs),
      })),
    };
  }

  async #do(op: Exclude<Op, LongOp>): Promise<NonNullable<AdminReply["op"]>> {
    const { cluster, executor, sessions } = this.parts;
    switch (op.$case) {
      case "status":
        return { $case: "status", value: await this.status() };
      case "explain":
        return { $case: "explain", value: (await executor.execute(0, (tx) => explain(tx, op.value))).value };
      case "setNode":
        return { $case: "setNode", value: await cluster.setNode(op.value) };
      case "scrubNode":
        return { $case: "scrubNode", value: cluster.scrubNode(op.value.node) };
      case "removeNode":
        return { $case: "removeNode", value: await cluster.removeNode(op.value) };
      case "endSession": {
        const session = sessions.get(op.value.session);
        if (session === undefined) fail("ENOENT", `there is no session ${op.value.session}`);
        await sessions.fence(session, "an administrator ended it");
        return { $case: "endSession", value: {} };
      }
      case "setVolume":
        await this.#setVolume(op.value);
        return { $case: "setVolume", value: {} };
      case "setReplicas":
        await this.parts.recount.set(op.value.ino, op.value.replicas);
        this.parts.recountSoon();
        return { $case: "setReplicas", value: {} };
    }
  }

  async #setVolume(change: SetVolume): Promise<void> {
    const { cluster, executor, service, volume } = this.parts;
    const { value, batch } = await executor.execute(0, (tx) => setVolume(tx, change));
    await executor.whenDurable(batch);
    Object.assign(volume, value);
    cluster.settingsChanged();
    service.copiesChanged(value);
  }

  /** As fast as the other side takes it. */
  async #answerInParts(
    link: Link<AdminReply, AdminRequest>,
    id: number,
    op: LongOp,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, stuckMs } = this.parts;
    for await (const part of longAnswer(op, this.parts)) {
      link.send({ id, errno: "", detail: "", op: part });
      const cancel = clock.after(stuckMs, () => link.close(new FsError("ETIMEDOUT", "nobody takes the answer")));
      await link.drained().finally(cancel);
      if (signal.aborted) return;
    }
  }

  async #answer(link: Link<AdminReply, AdminRequest>, { id, op }: AdminRequest, signal: AbortSignal): Promise<void> {
    try {
      if (op === undefined) throw new FsError("ENOSYS", "this daemon does not know that request; it may be older");
      if (isLong(op)) return await this.#answerInParts(link, id, op, signal);
      link.send({ id, errno: "", detail: "", op: await this.#do(op) });
    } catch (error) {
      const detail = error instanceof FsError ? error.detail : "internal error";
      link.send({ id, errno: errnoOf(error), detail, op: undefined });
      if (!(error instanceof FsError)) this.parts.log.error({ err: error }, "an administration request failed");
    }
    return undefined;
  }
}
