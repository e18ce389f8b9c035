import { FsError, errnoOf, fail } from "../../proto/errno.js";
import type { PutChunk, Target } from "../../proto/gen/bigfs/v1/store.js";
import type { ChunkStore } from "./chunk-store.js";
import type { Peers } from "./peers.js";
import type { Standing } from "./reports.js";

export interface PutsParts {
  readonly store: ChunkStore;
  readonly peers: Pick<Peers, "ask">;
  /** This node's id. */
  readonly self: () => number;
}

/** Not enough copies could be made; `stood` are the nodes that have one all the same. */
export class TooFewCopies extends FsError {
  constructor(
    readonly stood: readonly number[],
    failures: ReadonlyMap<number, unknown>,
  ) {
    const errnos = [...failures.values()].map(errnoOf);
    const isFull = errnos.length > 0 && errnos.every((errno) => errno === "ENOSPC");
    const each = [...failures].map(([node, error]) => `node ${node}: ${String(error)}`);
    super(isFull ? "ENOSPC" : "EIO", `${stood.length} copies stand; ${each.join("; ")}`);
  }
}

/** What became of one put so far. */
interface Progress {
  readonly stood: number[];
  readonly failures: Map<number, unknown>;
  /** Nodes that have not answered yet. */
  readonly open: Set<number>;
}

/** Stores chunks that clients send, together with the nodes that shall hold copies. */
export class Puts {
  constructor(
    private readonly parts: PutsParts,
    /** How long another node may take for a copy. */
    private readonly opts: { readonly forwardMs: number },
  ) {}

  /**
   * Stores the chunk here and on the nodes of `forward`, all at the same time. Resolves when `min_copies` stand, to what
   * is to be registered; what is still under way goes on. What was stored stays when there are too few: only metadata
   * knows when it may go. `released` is called once, when the data is needed no more, also after a failure.
   */
  async primary(put: PutChunk, data: Buffer, released: () => void): Promise<Standing> {
    const copies = await this.#begin(put, data).catch((error: unknown) => {
      released();
      throw error;
    });
    void Promise.allSettled(copies.values()).then(released);
    const self = this.parts.self();
    const { stood, open } = await enough(copies, { need: Math.max(1, put.minCopies), self });
    const others = stood.filter((node) => node !== self);
    return { chunk: put.chunk, others, areSynced: put.sync, pending: [...open], wanted: put.wanted };
  }

  /** The copies under way, by node. */
  async #begin(put: PutChunk, data: Buffer): Promise<Map<number, Promise<void>>> {
    const { store, self } = this.parts;
    const targets = put.forward.filter(({ node }) => node !== self());
    if (put.minCopies > 1 + targets.length) {
      fail("EINVAL", `${put.minCopies} copies on ${1 + targets.length} nodes`);
    }
    // A node that cannot hold the chunk does not have others hold it in vain.
    await store.mustHaveRoom(data.length);
    const copies = new Map<number, Promise<void>>();
    copies.set(self(), store.put({ id: put.chunk, crc: put.crc, data, sync: put.sync }));
    for (const target of targets) copies.set(target.node, this.#forward(target, put, data));
    return copies;
  }

  async #forward(target: Target, put: PutChunk, data: Buffer): Promise<void> {
    const { chunk, crc, sync } = put;
    const copy = { chunk, crc, sync, forward: [], minCopies: 0, copy: true };
    const { header } = await this.parts.peers.ask(target, { $case: "put", value: copy }, data, this.opts.forwardMs);
    // Addresses go from one node to another, and two nodes may claim the same: a copy counts where it was made.
    if (!header.nodes.includes(target.node)) {
      fail("EIO", `at ${target.address} answers node ${header.nodes.join()}, not node ${target.node}`);
    }
  }
}

/** Resolves when `need` copies stand, `self`'s among them; rejects when that cannot be and `self`'s end is known. */
function enough(
  copies: ReadonlyMap<number, Promise<void>>,
  { need, self }: { need: number; self: number },
): Promise<Progress> {
  const progress: Progress = { stood: [], failures: new Map(), open: new Set(copies.keys()) };
  const { stood, failures, open } = progress;
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (open.has(self)) return;
      if (failures.has(self)) reject(asFsError(failures.get(self)));
      else if (stood.length + open.size < need) reject(new TooFewCopies([...stood], failures));
      else if (stood.length >= need) {
        resolve({ stood: [...stood], failures: new Map(failures), open: new Set(open) });
      }
    };
    for (const [node, copy] of copies) {
      copy
        .then(
          () => void stood.push(node),
          (error: unknown) => void failures.set(node, error),
        )
        .finally(() => {
          open.delete(node);
          look();
        });
    }
  });
}

function asFsError(error: unknown): FsError {
  return error instanceof FsError ? error : new FsError("EIO", String(error), { cause: error });
}
