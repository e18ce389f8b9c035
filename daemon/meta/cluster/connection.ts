/**
 * One stream of one node: join first, then reports, each answered under its id when what it changed is on disk.
 *
 * Invariants:
 * - Reports run in the order in which they came; inventory pages in their own order beside them, since they take longer
 *   (inventory.ts says how the two go together). Answers may come in any order.
 * - Nothing that a node says over a stream that is not its newest has an effect.
 */
import type { Logger } from "pino";
import { fail, FsError } from "../../../proto/errno.js";
import type { JoinOk, NodeFrame, NodeReply } from "../../../proto/gen/bigfs/v1/node.js";
import type { Executor } from "../executor.js";
import type { Inventories } from "./inventory.js";
import { mustFit } from "./join.js";
import type { Member, NodeLink } from "./member.js";
import type { Membership } from "./membership.js";
import type { Reach } from "./reach.js";
import type { Repair } from "./repair.js";
import type { Reports } from "./reports.js";
import type { SurplusCopies } from "./surplus.js";

type Op = NonNullable<NodeFrame["op"]>;
type Answer = NodeReply["op"];

export interface ConnectionParts {
  readonly executor: Executor;
  readonly membership: Membership;
  readonly reports: Reports;
  readonly repair: Repair;
  readonly surplus: SurplusCopies;
  readonly log: Logger;
  readonly inventories: Inventories;
  readonly reach: Reach;
  readonly about: Omit<JoinOk, "node">;
}

/** A node that has more unanswered frames than this breaks the protocol: its stream is closed. */
const WAITING_MAX = 65_536;

export class Connection {
  #member: Member | undefined;
  #reports: Promise<void> = Promise.resolve();
  #pages: Promise<void> = Promise.resolve();
  #waiting = 0;
  #isClosed = false;
  #hasLeft = false;

  constructor(
    private readonly link: NodeLink,
    private readonly parts: ConnectionParts,
  ) {}

  open(): void {
    this.link.open({
      message: (frame) => this.#receive(frame),
      closed: () => this.#closed(),
    });
  }

  #receive(frame: NodeFrame): void {
    if (this.#member !== undefined) this.parts.membership.heard(this.#member);
    if (++this.#waiting > WAITING_MAX) {
      this.link.close(new FsError("EPROTO", "too many frames wait for an answer"));
      return;
    }
    if (frame.op?.$case === "inventory") {
      // Not before the reports that came before it; those that come later do not wait for it.
      const before = this.#reports;
      this.#pages = this.#pages.then(() => before).then(() => this.#handle(frame));
      return;
    }
    if (frame.op?.$case === "leave") this.#hasLeft = true; // the stream may end before its turn comes
    this.#touch(frame.op);
    this.#reports = this.#reports.then(() => this.#handle(frame));
  }

  /** Tells running inventories what they are too old to judge, already now. */
  #touch(op: NodeFrame["op"]): void {
    const { inventories } = this.parts;
    const node = this.#member?.id;
    if (op === undefined || node === undefined) return;
    if (op.$case === "confirm" || op.$case === "verified")
      inventories.touch(
        node,
        op.value.chunks.map(({ chunk }) => chunk),
      );
    if (op.$case === "synced" || op.$case === "removed" || op.$case === "failed") {
      inventories.touch(node, op.value.chunks, { areGone: op.$case !== "synced" });
    }
    if (op.$case !== "register") return;
    for (const stored of op.value.chunks) {
      for (const holder of stored.nodes) inventories.touch(holder, [stored.chunk]);
    }
  }

  /** Never rejects. Resolves when the frame has taken effect, before it is durable and answered. */
  async #handle(frame: NodeFrame): Promise<void> {
    try {
      if (this.#isClosed) return;
      const { op } = frame;
      if (op === undefined) fail("EOPNOTSUPP", "this metadata daemon does not know that message");
      if (op.$case === "join") {
        await this.#join(frame.id, op.value);
        return;
      }
      const batch = await this.#report(op);
      this.parts.executor.whenDurable(batch).then(
        () => this.#answer(frame.id),
        (error: unknown) => this.#refuse(frame.id, error),
      );
    } catch (error) {
      this.#refuse(frame.id, error);
      if (this.#member === undefined) this.link.close();
    } finally {
      this.#waiting--;
    }
  }

  async #join(id: number, join: Extract<Op, { $case: "join" }>["value"]): Promise<void> {
    if (this.#member !== undefined) fail("EINVAL", "this stream has joined already");
    mustFit(join, this.parts.about.volume);
    // Where a node was before it need not answer at once: a bad moment of the network keeps no one out.
    await this.parts.reach(join, { mustAnswer: !this.parts.membership.isAt(join) });
    const member = await this.parts.membership.join(join);
    if (this.#isClosed) return;
    this.#answer(id, { $case: "joined", value: { ...this.parts.about, node: member.id } });
    this.#member = member;
    this.parts.inventories.begin(member);
    this.parts.membership.welcome(member, this.link);
  }

  /** The batch that records what the node said; 0: nothing to record. */
  async #report(op: Exclude<Op, { $case: "join" }>): Promise<number> {
    const member = this.#member ?? fail("EPROTO", "a node joins first");
    if (member.link !== this.link) fail("ESTALE", "this node has a newer stream");
    const { reports, repair, surplus, membership, inventories } = this.parts;
    switch (op.$case) {
      case "heartbeat":
        membership.heartbeat(member, op.value);
        return 0;
      case "register":
        return reports.register(member, op.value.chunks);
      case "confirm":
        return reports.confirm(member, op.value.chunks);
      case "verified": {
        const { number, chunks } = op.value;
        const batch = await reports.confirm(member, chunks);
        surplus.verified(
          member.id,
          number,
          chunks.map(({ chunk }) => chunk),
        );
        return batch;
      }
      case "synced":
        return reports.synced(member, op.value.chunks);
      case "removed":
        return reports.removed(member, op.value.chunks);
      case "inventory":
        return inventories.page(member, op.value);
      case "failed":
        if (!op.value.lost) return repair.failed(member.id, op.value.chunks, op.value.errno);
        repair.avoid(member.id, op.value.chunks);
        return reports.lost(member, op.value.chunks, op.value.errno);
      case "leave":
        membership.ended(member, this.link, true);
        return 0;
    }
  }

  #answer(id: number, op: Answer = undefined): void {
    if (id !== 0) this.link.send({ id, errno: "", detail: "", op });
  }

  #refuse(id: number, error: unknown): void {
    if (!(error instanceof FsError)) this.parts.log.error({ err: error }, "a node's message could not be handled");
    const { errno, detail } = error instanceof FsError ? error : new FsError("EIO", "internal error");
    if (id !== 0) this.link.send({ id, errno, detail, op: undefined });
  }

  #closed(): void {
    this.#isClosed = true;
    if (this.#member !== undefined) this.parts.membership.ended(this.#member, this.link, this.#hasLeft);
  }
}
