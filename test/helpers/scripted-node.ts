import type { Heartbeat, Join, NodeFrame, NodeMap, NodeReply, StoredChunk } from "../../proto/gen/bigfs/v1/node.js";
import type { Cluster } from "../../daemon/meta/cluster/cluster.js";
import { settle } from "./fake-clock.js";
import { linkPair, type MemoryLink } from "./memory-link.js";

type Op = NonNullable<NodeFrame["op"]>;
type Push = NonNullable<NodeReply["op"]>;
type Case = Push["$case"];
type PushOf<C extends Case> = Extract<Push, { $case: C }>["value"];

/** A storage daemon that says what a test tells it to say. */
export class ScriptedNode {
  readonly link: MemoryLink<NodeFrame, NodeReply>;
  readonly pushes: Push[] = [];
  id = 0;
  isClosed = false;
  /** Called with each push, in order; answers for the node. */
  onPush: (push: Push) => void = () => {};
  readonly #answers = new Map<number, (reply: NodeReply) => void>();
  #requests = 0;

  constructor(
    cluster: Cluster,
    readonly about: Partial<Join> & { readonly uuid: string },
  ) {
    const { left, right } = linkPair<NodeFrame, NodeReply>();
    this.link = left;
    left.open({ message: (reply) => this.#receive(reply), closed: () => (this.isClosed = true) });
    cluster.serve(right);
  }

  /** Joins and, when that was accepted, sends an empty inventory unless told otherwise. */
  async join(inventory: "none" | "empty" = "empty"): Promise<NodeReply> {
    const reply = await this.ask({
      $case: "join",
      value: {
        volume: "",
        node: 0,
        name: this.about.uuid,
        address: `${this.about.uuid}:1`,
        zone: this.about.uuid,
        capacity: 100 * 2 ** 30,
        used: 0,
        ...this.about,
      },
    });
    if (reply.op?.$case === "joined") this.id = reply.op.value.node;
    if (reply.op?.$case === "joined" && inventory === "empty") await this.inventory([], true);
    return reply;
  }

  /** undefined: a message that this version does not know. */
  ask(op: Op | undefined): Promise<NodeReply> {
    const id = ++this.#requests;
    const answer = new Promise<NodeReply>((resolve) => this.#answers.set(id, resolve));
    this.link.send({ id, op });
    return answer;
  }

  register(chunks: readonly StoredChunk[]): Promise<NodeReply> {
    return this.ask({ $case: "register", value: { chunks: [...chunks] } });
  }

  confirm(chunks: readonly StoredChunk[]): Promise<NodeReply> {
    return this.ask({ $case: "confirm", value: { chunks: [...chunks] } });
  }

  verified(number: number, chunks: readonly StoredChunk[]): Promise<NodeReply> {
    return this.ask({ $case: "verified", value: { number, chunks: [...chunks] } });
  }

  synced(chunks: readonly number[]): Promise<NodeReply> {
    return this.ask({ $case: "synced", value: { chunks: [...chunks] } });
  }

  removed(chunks: readonly number[]): Promise<NodeReply> {
    return this.ask({ $case: "removed", value: { chunks: [...chunks] } });
  }

  failed(chunks: readonly number[], lost: boolean, errno = "EIO"): Promise<NodeReply> {
    return this.ask({ $case: "failed", value: { chunks: [...chunks], lost, errno } });
  }

  inventory(chunks: readonly StoredChunk[], last: boolean): Promise<NodeReply> {
    return this.ask({ $case: "inventory", value: { chunks: [...chunks], last } });
  }

  heartbeat(fields: Partial<Heartbeat> = {}): Promise<NodeReply> {
    const value = { capacity: 100 * 2 ** 30, used: 0, chunks: 0, load: undefined, ...fields };
    return this.ask({ $case: "heartbeat", value });
  }

  pushed<C extends Case>(kind: C): PushOf<C>[] {
    return this.pushes.flatMap((push) => (push.$case === kind ? [push.value as PushOf<C>] : []));
  }

  get map(): NodeMap | undefined {
    return this.pushed("map").at(-1);
  }

  async close(): Promise<void> {
    this.link.close();
    await settle();
  }

  #receive(reply: NodeReply): void {
    if (reply.id !== 0) {
      this.#answers.get(reply.id)?.(reply);
      this.#answers.delete(reply.id);
      return;
    }
    if (reply.op === undefined) return;
    this.pushes.push(reply.op);
    this.onPush(reply.op);
  }
}
