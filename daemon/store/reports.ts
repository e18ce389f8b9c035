import type { Logger } from "pino";
import { fail, type Errno } from "../../proto/errno.js";
import type { NodeFrame, StoredChunk } from "../../proto/gen/bigfs/v1/node.js";
import type { Clock } from "../common/clock.js";
import { Batcher } from "./batcher.js";
import type { ChunkStore } from "./chunk-store.js";

export interface ReportsParts {
  readonly store: ChunkStore;
  readonly log: Logger;
  /** This node's id. */
  readonly self: () => number;
  /** Resolves when the metadata daemon has answered; rejects with what it refuses. */
  readonly report: (op: NonNullable<NodeFrame["op"]>) => Promise<void>;
  readonly clock: Clock;
}

/** Copies in one message; the next goes when this one is on the metadata daemon's disk. */
const CONFIRMS_PER_BATCH = 10;
/** Copies that others have sent are told of together, of so many milliseconds. */
const COPIES_MS = 500;

/** A chunk that stands on several nodes, this one among them. */
export interface Standing {
  readonly chunk: number;
  readonly others: readonly number[];
  /** The others have fsynced it. */
  readonly areSynced: boolean;
  readonly pending: readonly number[];
  /** How many copies there shall be; undefined: as many as the volume wants. */
  readonly wanted: number | undefined;
}

/** What this node tells the metadata daemon of its chunks, in batches; each kind in the order in which it is told. */
export class Reports {
  readonly #registers: Batcher<Standing>;
  readonly #confirms: Batcher<number>;
  readonly #copies: Batcher<number>;
  readonly #synced: Batcher<number>;
  readonly #removed: Batcher<number>;
  readonly #lost: Batcher<{ readonly chunk: number; readonly errno: Errno }>;

  constructor(private readonly parts: ReportsParts) {
    const { report } = parts;
    this.#registers = new Batcher(async (items) => {
      // What is synced is asked when it is sent: a Synced of before it would have been about an unknown chunk.
      const chunks = items.flatMap((item) => this.#standing(item));
      if (chunks.length < items.length) fail("EIO", "the chunk is gone again");
      await report({ $case: "register", value: { chunks } });
    });
    const confirm = async (ids: readonly number[]): Promise<void> => {
      const chunks = ids.flatMap((id) => this.held(id));
      if (chunks.length > 0) await report({ $case: "confirm", value: { chunks } });
    };
    this.#confirms = new Batcher(confirm, CONFIRMS_PER_BATCH);
    this.#copies = new Batcher(
      confirm,
      CONFIRMS_PER_BATCH,
      () => new Promise((resolve) => void parts.clock.after(COPIES_MS, resolve)),
    );
    this.#synced = new Batcher((ids) => report({ $case: "synced", value: { chunks: [...ids] } }));
    this.#removed = new Batcher((ids) => report({ $case: "removed", value: { chunks: [...ids] } }));
    this.#lost = new Batcher(async (items) => {
      for (const errno of new Set(items.map((item) => item.errno))) {
        const chunks = items.filter((item) => item.errno === errno).map((item) => item.chunk);
        await report({ $case: "failed", value: { chunks, lost: true, errno } });
      }
    });
  }

  /** This node's id. */
  get self(): number {
    return this.parts.self();
  }

  /** Resolves when the chunk is registered; rejects when that was refused. */
  register(standing: Standing): Promise<void> {
    return this.#registers.add(standing);
  }

  /** This node holds a copy that somebody else registers, or was told to make. */
  confirm(chunk: number): Promise<void> {
    return this.#told(this.#confirms.add(chunk), "confirm");
  }

  /** The same, in no hurry: whoever sent it the copy most probably registers that. */
  copied(chunk: number): void {
    void this.#told(this.#copies.add(chunk), "confirm");
  }

  async synced(chunks: readonly number[]): Promise<void> {
    await Promise.all(chunks.map((chunk) => this.#told(this.#synced.add(chunk), "synced")));
  }

  async removed(chunks: readonly number[]): Promise<void> {
    await Promise.all(chunks.map((chunk) => this.#told(this.#removed.add(chunk), "removed")));
  }

  /** The copy here counts no more. */
  lost(chunk: number, errno: Errno): Promise<void> {
    return this.#told(this.#lost.add({ chunk, errno }), "lost");
  }

  /** Of the chunks that the metadata daemon asked about under that number, these are whole and fsynced. */
  verified(number: number, chunks: readonly number[]): Promise<void> {
    const held = chunks.flatMap((chunk) => this.held(chunk));
    return this.#told(this.parts.report({ $case: "verified", value: { number, chunks: held } }), "verified");
  }

  /** A copy that was to be made here could not be. */
  notReplicated(chunk: number, errno: Errno): Promise<void> {
    return this.#told(this.parts.report({ $case: "failed", value: { chunks: [chunk], lost: false, errno } }), "failed");
  }

  /** The copy of that chunk here, in the words of the wire; none when it is gone or still to be verified. */
  held(chunk: number): StoredChunk[] {
    const entry = this.parts.store.entry(chunk);
    if (entry === undefined || entry.unverified) return [];
    const self = this.parts.self();
    const { len, crc, synced } = entry;
    return [{ chunk, len, crc, nodes: [self], synced: synced ? [self] : [], pending: [] }];
  }

  #standing({ chunk, others, areSynced, pending, wanted }: Standing): StoredChunk[] {
    return this.held(chunk).map((own) => ({
      ...own,
      nodes: [...own.nodes, ...others],
      synced: areSynced ? [...own.synced, ...others] : own.synced,
      pending: [...pending],
      wanted,
    }));
  }

  /** A refusal is no fault of whoever caused the report: the next inventory settles it. */
  async #told(sent: Promise<void>, what: string): Promise<void> {
    try {
      await sent;
    } catch (error) {
      this.parts.log.warn({ err: error, report: what }, "the metadata daemon did not take a report");
    }
  }
}
