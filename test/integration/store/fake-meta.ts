import type { Test } from "tap";
import pino from "pino";
import { systemClock } from "../../../daemon/common/clock.js";
import { NODE } from "../../../daemon/common/rpc/kinds.js";
import type { Link } from "../../../daemon/common/rpc/link.js";
import { RpcServer } from "../../../daemon/common/rpc/server.js";
import type { Errno } from "../../../proto/errno.js";
import type { NodeFrame, NodeReply, StoredChunk } from "../../../proto/gen/bigfs/v1/node.js";

export const KEY = Buffer.alloc(32, 7);
export const VOLUME = "9c0f0d6c-6f8f-4f0a-9a54-0d7c53f3d0c1";

export type Op = NonNullable<NodeFrame["op"]>;
type Case = Op["$case"];
type Said<C extends Case> = Extract<Op, { $case: C }>["value"];

interface Heard {
  readonly node: number;
  readonly op: Op;
}

/** A metadata daemon that knows no rows: it remembers what nodes say, answers as the test wants, and pushes. */
export class FakeMeta {
  readonly heard: Heard[] = [];
  /** What becomes of a report: taken (""), refused, or left without an answer until `answer()`. */
  verdict: (op: Op, node: number) => "" | Errno | "later" = () => "";
  #later: (() => void)[] = [];
  readonly #nodes = new Map<string, number>();
  readonly #links = new Map<number, Link<NodeReply, NodeFrame>>();
  #wake: (() => void)[] = [];
  #server: RpcServer | undefined;

  private constructor(
    private address: string,
    private readonly volume: string,
  ) {}

  static async start(t: Test, opts: { address?: string; volume?: string } = {}): Promise<FakeMeta> {
    const meta = new FakeMeta(opts.address ?? "127.0.0.1:0", opts.volume ?? VOLUME);
    await meta.listen();
    t.teardown(() => meta.stop());
    return meta;
  }

  get listening(): string {
    return this.address;
  }

  async listen(): Promise<void> {
    const log = pino({ level: "silent" });
    const volume = () => ({ uuid: this.volume, incarnation: 1 });
    const server = new RpcServer({ key: KEY, log, clock: systemClock, volume });
    server.handle(NODE, (link) => this.#serve(link));
    this.address = await server.listen(this.address);
    this.#server = server;
  }

  async stop(): Promise<void> {
    await this.#server?.stop();
    this.#server = undefined;
  }

  /** Answers what was left without one. */
  answer(): void {
    for (const tell of this.#later.splice(0)) tell();
  }

  push(node: number, op: NonNullable<NodeReply["op"]>): void {
    this.#links.get(node)?.send({ id: 0, errno: "", detail: "", op });
  }

  /** Cuts the stream of a node. */
  cut(node: number): void {
    this.#links.get(node)?.close();
  }

  all<C extends Case>(kind: C, node?: number): Said<C>[] {
    return this.heard.flatMap((heard) => {
      const isIt = heard.op.$case === kind && (node === undefined || heard.node === node);
      return isIt ? [heard.op.value as Said<C>] : [];
    });
  }

  /** The chunks in all reports of that kind. */
  chunks(kind: "register" | "confirm" | "inventory", node?: number): StoredChunk[] {
    return this.all(kind, node).flatMap(({ chunks }) => chunks);
  }

  /** Resolves when the condition holds; looked at whenever a node says something. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  #serve(link: Link<NodeReply, NodeFrame>): void {
    let node = 0;
    link.open({
      message: (frame) => {
        const { id, op } = frame;
        if (op === undefined) return;
        if (op.$case === "join") node = this.#nodeOf(op.value.uuid);
        const verdict = this.verdict(op, node);
        const answer = (): void => this.#answer(link, { id, op, node, errno: verdict === "later" ? "" : verdict });
        if (verdict === "later") this.#later.push(answer);
        else answer();
        this.heard.push({ node, op });
        for (const wake of this.#wake.splice(0)) wake();
      },
      closed: () => {
        if (this.#links.get(node) === link) this.#links.delete(node);
        for (const wake of this.#wake.splice(0)) wake();
      },
    });
  }

  #answer(link: Link<NodeReply, NodeFrame>, what: { id: number; op: Op; node: number; errno: string }): void {
    const { id, op, node, errno } = what;
    if (op.$case !== "join" || errno !== "") {
      link.send({ id, errno, detail: errno === "" ? "" : "as the test wants", op: undefined });
      return;
    }
    this.#links.set(node, link);
    const about = { volume: this.volume, node, chunkSize: 1024 * 1024, minReplicas: 2, heartbeatMs: 60_000 };
    link.send({ id, errno: "", detail: "", op: { $case: "joined", value: about } });
  }

  #nodeOf(uuid: string): number {
    const node = this.#nodes.get(uuid) ?? this.#nodes.size + 1;
    this.#nodes.set(uuid, node);
    return node;
  }
}
