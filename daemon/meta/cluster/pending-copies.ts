import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../../common/clock.js";

/** A copy that was assigned to a node and not confirmed yet. */
export interface PendingCopy {
  readonly chunk: number;
  readonly node: number;
  readonly sinceMs: number;
  /** How often the node was asked again. */
  retries: number;
  dueMs: number;
}

/** More are not followed; the next census finds them. */
const CHUNKS_MAX = 100_000;

/** The PENDING copies of all rows that were seen lately, with the time until which each must be confirmed. */
export class PendingCopies {
  readonly #byChunk = new Map<number, Map<number, PendingCopy>>();
  #size = 0;

  constructor(
    private readonly parts: { readonly clock: Clock },
    private readonly opts: { readonly confirmMs: number },
  ) {}

  get size(): number {
    return this.#size;
  }

  has(chunk: number, node: number): boolean {
    return this.#byChunk.get(chunk)?.has(node) === true;
  }

  /** How long the oldest has waited. */
  get oldestMs(): number {
    let oldest = Infinity;
    for (const copies of this.#byChunk.values())
      for (const copy of copies.values()) oldest = Math.min(oldest, copy.sinceMs);
    return oldest === Infinity ? 0 : this.parts.clock.monotonicMs() - oldest;
  }

  /** The chunk's row is this now. */
  follow(chunk: number, row: Readonly<ChunkRow> | undefined): void {
    const pending = row?.replicas.filter((copy) => copy.state === ReplicaState.PENDING) ?? [];
    const known = this.#byChunk.get(chunk);
    if (known === undefined && (pending.length === 0 || this.#byChunk.size >= CHUNKS_MAX)) return;
    const nowMs = this.parts.clock.monotonicMs();
    const copies = new Map<number, PendingCopy>();
    for (const { node } of pending) {
      const fresh = { chunk, node, sinceMs: nowMs, retries: 0, dueMs: nowMs + this.opts.confirmMs };
      copies.set(node, known?.get(node) ?? fresh);
    }
    this.#size += copies.size - (known?.size ?? 0);
    if (copies.size > 0) this.#byChunk.set(chunk, copies);
    else this.#byChunk.delete(chunk);
  }

  /** Those whose time is over. */
  due(): PendingCopy[] {
    const nowMs = this.parts.clock.monotonicMs();
    const due: PendingCopy[] = [];
    for (const copies of this.#byChunk.values()) {
      for (const copy of copies.values()) if (copy.dueMs <= nowMs) due.push(copy);
    }
    return due;
  }

  /** The node was asked once more. */
  askedAgain(copy: PendingCopy): void {
    copy.retries++;
    copy.dueMs = this.parts.clock.monotonicMs() + this.opts.confirmMs;
  }
}
