import { test } from "tap";
import type { NodesView } from "../../../../daemon/meta/cluster/nodes-view.js";
import { settleSurplus, surplusOf } from "../../../../daemon/meta/cluster/surplus-plan.js";
import { key } from "../../../../daemon/meta/keys.js";
import { NodeMap } from "../../../../proto/gen/bigfs/v1/node.js";
import { ChunkRow, ReplicaState } from "../../../../proto/gen/bigfs/v1/rows.js";
import { MemoryRows } from "../../../helpers/memory-tx.js";

const { AVAILABLE, DELETING, PENDING } = ReplicaState;
type Copy = readonly [node: number, state: ReplicaState, synced?: boolean];

function row(copies: readonly Copy[], more: Partial<ChunkRow> = {}): ChunkRow {
  const replicas = copies.map(([node, state, synced = state === AVAILABLE]) => ({ node, state, synced, since: 0 }));
  return { ...ChunkRow.create({ id: 5, len: 1, refs: 1, replicas }), ...more };
}

const on = (...nodes: number[]): Copy[] => nodes.map((node) => [node, AVAILABLE] as const);

/** Four nodes, each in a zone of its own; `away`: without a stream. */
function view({ draining = [], away = [] }: { draining?: number[]; away?: number[] } = {}): NodesView {
  const stateOf = (id: number) => (away.includes(id) ? "SUSPECT" : draining.includes(id) ? "DRAINING" : "UP");
  const nodes = [1, 2, 3, 4].map((id) => ({ id, zone: `z${id}`, weight: 1, state: stateOf(id) }));
  const map = NodeMap.fromPartial({ version: 1, nodes });
  return {
    map: () => map,
    isLive: () => true,
    isDraining: (node) => draining.includes(node),
    addressOf: (node) => (away.includes(node) ? undefined : `n${node}:1`),
  };
}

test("what is too many is what placement wants least, and what is on nodes that are drained", (t) => {
  t.same(surplusOf(row(on(1, 2)), view(), 2), { kind: "none" });
  const found = surplusOf(row(on(1, 2, 3)), view(), 2);
  t.equal(found.kind === "too many" && found.ask.length === 2 && found.go.length === 1, true);
  t.match(surplusOf(row(on(1, 2, 3)), view({ draining: [1] }), 2), { kind: "too many", go: [1] });
  t.same(surplusOf(row(on(1, 2)), view({ draining: [1] }), 2), { kind: "none" }, "not before another stands");
  t.same(surplusOf(row([...on(1, 2), [3, PENDING]]), view({ draining: [1] }), 2), { kind: "none" });
  t.same(surplusOf(row(on(1, 2, 3)), view({ away: [1] }), 2), { kind: "none" }, "who cannot be asked does not count");
  t.same(surplusOf(row(on(1, 2, 3), { garbage: true }), view(), 2), { kind: "none" }, "it goes as a whole");
  t.same(surplusOf(row([]), view(), 2), { kind: "none" });
  t.match(surplusOf(row([...on(1, 2), [3, DELETING]]), view(), 2), { kind: "too many", go: [3] }, "it is told again");
  t.same(surplusOf(row([...on(1), [3, DELETING]]), view(), 2), { kind: "needed", ask: [3] });
  t.same(
    surplusOf(row([...on(1, 2), [3, DELETING]]), view({ away: [2] }), 2),
    { kind: "none" },
    "one is away for a while",
  );
  t.end();
});

test("nothing is decided that does not rest on copies that were verified and are on disk", (t) => {
  const settled = (chunk: ChunkRow, verified: readonly number[], nodes = view({ draining: [3] })) => {
    const rows = new MemoryRows();
    rows.run((tx) => {
      tx.put(key.chunk(5), chunk);
    });
    const opts = { wanted: () => 2, verified: new Set(verified) };
    const told = rows.run((tx) => settleSurplus(tx, 5, nodes, opts));
    return [told, rows.get(key.chunk(5))?.replicas.map(({ state }) => state)];
  };
  t.same(settled(row(on(1, 2, 3)), [1, 2]), [[3], [AVAILABLE, AVAILABLE, DELETING]]);
  t.same(settled(row(on(1, 2, 3)), [1, 3]), [[], [AVAILABLE, AVAILABLE, AVAILABLE]], "another was verified");
  const unsynced = row([...on(1, 3), [2, AVAILABLE, false]]);
  t.same(settled(unsynced, [1, 2]), [[], [AVAILABLE, AVAILABLE, AVAILABLE]]);
  t.same(settled(row(on(1, 3)), [1, 2]), [[], [AVAILABLE, AVAILABLE]], "one was lost meanwhile");
  t.same(settled(row([...on(1), [2, DELETING]]), [2]), [[], [AVAILABLE, AVAILABLE]], "it is kept");
  t.same(settled(row([...on(1), [2, DELETING]]), [1]), [[], [AVAILABLE, DELETING]]);
  t.end();
});
