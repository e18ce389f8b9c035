import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import type { KnownChunk } from "./chunk-waits.js";
import type { Membership } from "./membership.js";
import { parts } from "./pages.js";

/** Chunks in one message. */
const CHUNKS_PER_PUSH = 1000;

/**
 * Asks nodes to fsync copies: each copy once, however many wait for it, until it is answered, nobody waits any more, or
 * the node has a new stream.
 */
export class SyncRequests {
  readonly #asked = new Map<number, Set<number>>();
  readonly #unsent = new Map<number, number[]>();
  #isScheduled = false;

  constructor(private readonly parts: { readonly membership: Membership }) {}

  /** Asks every node with a readable copy that is not synced; what was asked in one turn goes in one message. */
  ask(row: KnownChunk): void {
    for (const copy of row?.replicas ?? []) {
      if (copy.state !== ReplicaState.AVAILABLE || copy.synced || row === undefined) continue;
      if (this.parts.membership.get(copy.node)?.link === undefined) continue;
      const asked = this.#asked.get(copy.node) ?? new Set<number>();
      this.#asked.set(copy.node, asked);
      if (asked.has(row.id)) continue;
      asked.add(row.id);
      const unsent = this.#unsent.get(copy.node);
      if (unsent === undefined) this.#unsent.set(copy.node, [row.id]);
      else unsent.push(row.id);
      this.#sendSoon();
    }
  }

  /** The chunk's row is this now: what is synced or gone is asked no more. */
  changed(chunk: number, row: KnownChunk): void {
    for (const [node, asked] of this.#asked) {
      const copy = asked.has(chunk) ? row?.replicas.find((replica) => replica.node === node) : undefined;
      if (copy === undefined || copy.synced) asked.delete(chunk);
    }
  }

  /** Nobody waits for the chunk any more. */
  forget(chunk: number): void {
    for (const asked of this.#asked.values()) asked.delete(chunk);
  }

  /** The node has a new stream, or none. */
  forgetNode(node: number): void {
    this.#asked.delete(node);
    this.#unsent.delete(node);
  }

  #sendSoon(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      for (const [node, chunks] of this.#unsent) {
        for (const part of parts(chunks, CHUNKS_PER_PUSH)) {
          this.parts.membership.get(node)?.push({ $case: "sync", value: { chunks: [...part] } });
        }
      }
      this.#unsent.clear();
    });
  }
}
