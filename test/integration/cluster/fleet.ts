import type { StoredChunk } from "../../../proto/gen/bigfs/v1/node.js";
import type { NodeReply } from "../../../proto/gen/bigfs/v1/node.js";
import type { ClusterBench } from "../../helpers/cluster-bench.js";
import { stored } from "../../helpers/cluster-bench.js";
import { settle } from "../../helpers/fake-clock.js";
import type { ScriptedNode } from "../../helpers/scripted-node.js";

type Push = NonNullable<NodeReply["op"]>;

/** A storage daemon with a disk: it does what it is told, and its disk survives its streams. */
export class DiskNode {
  /** Chunk -> crc. */
  readonly disk = new Map<number, number>();
  readonly quarantine = new Set<number>();
  readonly removed: number[] = [];
  node: ScriptedNode | undefined;
  #id = 0;
  /** While true it does nothing of what it is told. */
  isLazy = false;
  /** While true it can make no copies. */
  isFull = false;
  /** Copies that it was told to make. */
  ordered = 0;
  /** So many orders it still obeys. */
  orders = Infinity;
  /** Called before a chunk that is here is removed. */
  onRemove: (chunk: number) => void = () => {};

  constructor(
    private readonly fleet: ReadonlyMap<string, DiskNode>,
    readonly name: string,
    /** Bytes of each chunk. */
    private readonly len = 1000,
  ) {}

  /** Also while it is down. */
  get id(): number {
    return this.#id;
  }

  async up(bench: ClusterBench): Promise<void> {
    const node = bench.connect(this.name);
    node.onPush = (push) => this.#obey(node, push);
    this.node = node;
    await node.join("none");
    this.#id = node.id;
    const held = [...this.disk.keys()].sort((a, b) => a - b);
    const half = Math.floor(held.length / 2);
    await node.inventory(this.#words(node, held.slice(0, half)), false);
    await node.inventory(this.#words(node, held.slice(half)), true);
  }

  async down(): Promise<void> {
    const { node } = this;
    this.node = undefined;
    await node?.close();
  }

  /** The disk loses a chunk, and the node notices. */
  async lose(chunk: number): Promise<void> {
    if (!this.disk.delete(chunk)) return;
    void this.node?.failed([chunk], true, "EBADMSG");
    await settle();
  }

  #words(node: ScriptedNode, chunks: readonly number[]): StoredChunk[] {
    return chunks.map((chunk) =>
      stored(chunk, [node.id], { len: this.len, crc: this.disk.get(chunk) ?? 0, synced: [node.id] }),
    );
  }

  #obey(node: ScriptedNode, push: Push): void {
    if (this.isLazy || this.node !== node || push.$case === "map" || this.orders <= 0) return;
    this.orders--;
    switch (push.$case) {
      case "remove":
        for (const chunk of push.value.chunks) {
          if (this.disk.has(chunk)) this.onRemove(chunk);
          this.disk.delete(chunk);
        }
        this.removed.push(...push.value.chunks);
        void node.removed(push.value.chunks);
        return;
      case "quarantine":
        for (const chunk of push.value.chunks) {
          this.disk.delete(chunk);
          this.quarantine.add(chunk);
        }
        return;
      case "verify": {
        const { number, chunks } = push.value;
        void node.verified(
          number,
          this.#words(
            node,
            chunks.filter((chunk) => this.disk.has(chunk)),
          ),
        );
        return;
      }
      case "sync":
        void node.synced(push.value.chunks.filter((chunk) => this.disk.has(chunk)));
        return;
      case "replicate": {
        const { chunk, crc, from } = push.value;
        const sources = from.map(({ address }) => this.fleet.get(address.split(":")[0] ?? ""));
        const isThere = sources.some((source) => source?.node !== undefined && source.disk.get(chunk) === crc);
        this.ordered++;
        if (!isThere || this.isFull) return void node.failed([chunk], false, isThere ? "ENOSPC" : "ENOENT");
        this.disk.set(chunk, crc);
        return void node.confirm(this.#words(node, [chunk]));
      }
      default:
    }
  }
}
