/** Whether a cluster that is whole again has come to rest: every chunk where it should be, and nothing else anywhere. */
import { ChunkRow, NodeRow, ReplicaState } from "../../proto/gen/bigfs/v1/rows.js";
import { decodeFile } from "../../daemon/common/chunks/chunk-format.js";
import type { Cluster } from "./faults.js";
import type { SimNode, StoreMachine } from "./store-machine.js";

/** What is still to be done; none: nothing. */
export async function unrest(
  cluster: Cluster,
  wanted: { readonly replicas: number; readonly mayLackAll: boolean },
): Promise<string[]> {
  const rows = await cluster.meta.store.scan({ from: "", to: "~", limit: 1e9 });
  const of = (kind: string) => rows.filter(({ key }) => key.startsWith(kind));
  const rowsOfNodes = of("N").map(({ value }) => NodeRow.decode(value));
  const nodes = new Map(rowsOfNodes.map(({ id, name }) => [id, name]));
  const drained = new Set(rowsOfNodes.flatMap(({ draining, name }) => (draining ? name : [])));
  const found: string[] = [];
  const expected = new Map(
    cluster.stores.flatMap(({ nodes: all }) => all.map(({ name }) => [name, new Set<number>()])),
  );
  const chunks = of("K").map(({ value }) => ChunkRow.decode(value));
  // What a lost chunk has replaced is kept for good: nothing takes its place on a disk.
  const isKept = wanted.mayLackAll && chunks.some(({ refs, replicas }) => refs > 0 && replicas.length === 0);
  for (const row of chunks) {
    const shape = `chunk ${row.id} of ${row.refs} slices`;
    const isUnnamed = row.refs === 0;
    if (isUnnamed && !isKept) found.push(`${shape} is named by nothing`);
    const live = row.replicas.filter(({ state }) => state === ReplicaState.AVAILABLE);
    // Whether a reader may be told of a loss is judged where it reads.
    if (wanted.mayLackAll && row.replicas.length === 0) continue;
    if (!isUnnamed && (live.length < wanted.replicas || live.length !== row.replicas.length))
      found.push(`${shape} has ${live.length} copies and ${row.replicas.length - live.length} others`);
    for (const { node } of live) expected.get(nodes.get(node) ?? "")?.add(row.id);
  }
  for (const store of cluster.stores) {
    for (const node of store.nodes) {
      const { name } = node;
      const files = store.chunkFiles(node);
      const listed = expected.get(name) ?? new Set();
      if (drained.has(name) && listed.size > 0) found.push(`${name} is drained and has ${listed.size} chunks`);
      for (const id of listed) if (!files.has(id)) found.push(`${name} does not have its copy of chunk ${id}`);
      for (const id of files.keys()) if (!listed.has(id)) found.push(`${name} has chunk ${id}, which is nobody's`);
      // Those that rot are found by the scrub.
      if (store.rotted.has(node)) found.push(...badCopies(store, node));
    }
  }
  for (const kind of isKept ? ["O", "W"] : ["G", "O", "W"]) {
    if (of(kind).length > 0) found.push(`${of(kind).length} rows of kind ${kind} are left: ${of(kind)[0]?.key ?? ""}`);
  }
  return found;
}

/** Bad copies of a node, under their own names. */
export function badCopies(store: StoreMachine, node: SimNode): string[] {
  return [...store.chunkFiles(node)].flatMap(([id, path]) => {
    try {
      decodeFile(id, store.disk.peek(path));
      return [];
    } catch (error) {
      return [`${node.name} has a bad copy of chunk ${id}: ${String(error)}`];
    }
  });
}
