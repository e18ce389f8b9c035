import { FsError, errnoOf } from "../../proto/errno.js";
import type { QuarantinePart } from "../../proto/gen/bigfs/v1/meta.js";
import type { NodeInfo } from "../../proto/gen/bigfs/v1/node.js";
import type { DialStore } from "./store-calls.js";

/** What lies in quarantine on that node, or on all that were not removed: a part for each page of each, then the last. */
export async function* askQuarantine(
  wanted: number | undefined,
  { nodes, dialStore }: { readonly nodes: readonly NodeInfo[]; readonly dialStore: DialStore },
): AsyncGenerator<QuarantinePart> {
  const asked = nodes.filter(({ id, state }) => (wanted === undefined ? state !== "RETIRED" : id === wanted));
  if (wanted !== undefined && asked.length === 0) throw new FsError("ENOENT", `there is no node ${wanted}`);
  for (const node of asked) yield* pagesOf(node, dialStore);
  yield { node: 0, list: undefined, problem: "", last: true };
}

async function* pagesOf(node: NodeInfo, dialStore: DialStore): AsyncGenerator<QuarantinePart> {
  try {
    const calls = await dialStore(node);
    try {
      for (let after = ""; ;) {
        const { header } = await calls.ask({ $case: "listQuarantine", value: { after } });
        const list = header.quarantine ?? { folder: "", files: [], last: true, next: "" };
        yield { node: node.id, list, problem: "", last: false };
        if (list.last) return;
        after = list.next;
      }
    } finally {
      calls.close();
    }
  } catch (error) {
    const problem = error instanceof FsError && error.detail !== "" ? error.detail : errnoOf(error);
    yield { node: node.id, list: undefined, problem, last: false };
  }
}
