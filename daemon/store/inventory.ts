import type { NodeFrame, StoredChunk } from "../../proto/gen/bigfs/v1/node.js";
import type { HeldChunks } from "../../proto/gen/bigfs/v1/store.js";
import type { ChunkStore } from "./chunk-store.js";

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

/** What is here whole of the chunks from <= id < to, at most a page of it. Errors as of the disk. */
export async function heldIn(
  store: Pick<ChunkStore, "ids" | "entry" | "isWhole">,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<HeldChunks> {
  const ids = store.ids(from, to);
  const page = [...ids.subarray(0, PAGE)];
  const whole = await Promise.all(page.map((id) => store.isWhole(id)));
  const held: HeldChunks = { chunks: [], lens: [], crcs: [], next: ids[PAGE] ?? to };
  page.forEach((id, i) => {
    const entry = whole[i] === true ? store.entry(id) : undefined;
    if (entry === undefined) return;
    held.chunks.push(id);
    held.lens.push(entry.len);
    held.crcs.push(entry.crc);
  });
  return held;
}
