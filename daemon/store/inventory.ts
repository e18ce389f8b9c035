import type { NodeFrame, StoredChunk } from "../../proto/gen/bigfs/v1/node.js";

/** Chunks in one page. */
const PAGE = 2000;

/**
 * Says page by page what is here, in order of the ids, each page when the one before was answered. Resolves early when
 * the signal is aborted.
 */
export async function sendInventory(
  parts: {
    /** In growing order. */
    readonly ids: Float64Array;
    /** None: it has gone meanwhile. */
    readonly held: (id: number) => StoredChunk[];
    readonly say: (op: NonNullable<NodeFrame["op"]>) => Promise<void>;
  },
  signal: AbortSignal,
): Promise<void> {
  const { ids, held, say } = parts;
  for (let at = 0; !signal.aborted; at += PAGE) {
    const chunks = [...ids.subarray(at, at + PAGE)].flatMap(held);
    const last = at + PAGE >= ids.length;
    await say({ $case: "inventory", value: { chunks, last } });
    if (last) return;
  }
}
