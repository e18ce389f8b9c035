import type { ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../../common/clock.js";
import type { Membership } from "./membership.js";
import { parts } from "./pages.js";

/** Chunks in one message. */
const CHUNKS_PER_PUSH = 100;
/** Removals that one node may owe an answer for. */
const OPEN_MAX = 1000;

/** Tells nodes to remove copies whose deletion is recorded, not faster than they do it. */
export class Removals {
  /** When each node was told to remove what it has not answered for. */
  readonly #open = new Map<number, Map<number, number>>();
  readonly #waiting = new Map<number, Set<() => void>>();

  constructor(
    private readonly parts: { readonly membership: Membership; readonly clock: Clock },
    private readonly opts: {
      /** A node that has not answered for so long is told again. */
      readonly retryMs: number;
    },
  ) {}

  /** Resolves when the node can be told more; false: it does not answer, or has no stream. */
  async room(node: number): Promise<boolean> {
    if (this.parts.membership.get(node)?.link === undefined) return false;
    if (this.#openOf(node).size < OPEN_MAX) return true;
    const waiting = this.#waiting.get(node) ?? new Set<() => void>();
    this.#waiting.set(node, waiting);
    let cancel = () => {};
    await new Promise<void>((resolve) => {
      waiting.add(resolve);
      cancel = this.parts.clock.after(this.opts.retryMs, resolve);
    });
    cancel();
    return this.parts.membership.get(node)?.link !== undefined && this.#openOf(node).size < OPEN_MAX;
  }

  /** Tells the node, if it has a stream; what it was told lately is left out. */
  tell(node: number, chunks: readonly number[]): void {
    const member = this.parts.membership.get(node);
    if (member?.link === undefined) return;
    const nowMs = this.parts.clock.monotonicMs();
    const open = this.#openOf(node);
    const fresh = chunks.filter((chunk) => nowMs - (open.get(chunk) ?? -Infinity) >= this.opts.retryMs);
    for (const part of parts(fresh, CHUNKS_PER_PUSH)) {
      for (const chunk of part) open.set(chunk, nowMs);
      member.push({ $case: "remove", value: { chunks: [...part] } });
    }
  }

  /** The chunk's row is this now. */
  changed(chunk: number, row: Readonly<ChunkRow> | undefined): void {
    for (const [node, open] of this.#open) {
      if (!open.has(chunk)) continue;
      const isThere = row?.replicas.some((copy) => copy.node === node && copy.state === ReplicaState.DELETING) === true;
      if (!isThere) open.delete(chunk);
      if (open.size < OPEN_MAX) this.#wake(node);
    }
  }

  /** The node has a new stream, or none. */
  forgetNode(node: number): void {
    this.#open.delete(node);
    this.#wake(node);
  }

  stop(): void {
    for (const node of this.#waiting.keys()) this.#wake(node);
  }

  #wake(node: number): void {
    const waiting = this.#waiting.get(node);
    this.#waiting.delete(node);
    for (const resolve of waiting ?? []) resolve();
  }

  #openOf(node: number): Map<number, number> {
    const open = this.#open.get(node) ?? new Map<number, number>();
    this.#open.set(node, open);
    return open;
  }
}
