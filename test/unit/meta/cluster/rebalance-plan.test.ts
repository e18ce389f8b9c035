import { test } from "tap";
import type { NodesView } from "../../../../daemon/meta/cluster/nodes-view.js";
import { type Imbalance, apartOf, imbalanceOf, moveOf } from "../../../../daemon/meta/cluster/rebalance-plan.js";
import { surplusOf } from "../../../../daemon/meta/cluster/surplus-plan.js";
import { place } from "../../../../daemon/common/placement.js";
import { NodeMap } from "../../../../proto/gen/bigfs/v1/node.js";
import { ChunkRow, ReplicaState } from "../../../../proto/gen/bigfs/v1/rows.js";

const load = (id: number, used: number, capacity = 1000) => ({ id, used, capacity });
const sides = (found: Imbalance) => [[...found.above], [...found.below]];

test("copies move while a node is more than a tenth of its share away from it", (t) => {
  t.same(sides(imbalanceOf([load(1, 500), load(2, 500), load(3, 0)], 0)), [[1, 2], [3]]);
  t.same(sides(imbalanceOf([load(1, 109), load(2, 100), load(3, 91)], 0)), [[], []], "near enough");
  t.same(sides(imbalanceOf([load(1, 100), load(2, 200, 2000), load(3, 400, 4000)], 0)), [[], []], "by weight");
  t.same(sides(imbalanceOf([load(1, 100), load(2, 100, 2000), load(3, 500, 4000)], 0)), [[3], [2]]);
  t.same(sides(imbalanceOf([load(1, 106), load(2, 106), load(3, 88)], 0)), [[1, 2], [3]], "one alone lacks so much");
  t.same(sides(imbalanceOf([load(1, 124), load(2, 92), load(3, 92)], 0)), [[1], [2, 3]], "one alone has too much");
  t.same(sides(imbalanceOf([load(1, 500), load(2, 0)], 300)), [[], []], "a difference that does not matter");
  t.same(sides(imbalanceOf([load(1, 0), load(2, 0)], 0)), [[], []]);
  t.same(sides(imbalanceOf([load(1, 0, 0)], 0)), [[], []]);
  t.same(sides(imbalanceOf([], 0)), [[], []]);
  t.end();
});

/** Nodes by zone; all are there. */
function viewOf(zones: readonly string[]): NodesView {
  const nodes = zones.map((zone, i) => ({ id: i + 1, name: `n${i + 1}`, zone, weight: 1, state: "UP" }));
  const map = NodeMap.fromPartial({ version: 1, nodes });
  return { map: () => map, isLive: () => true, isDraining: () => false, addressOf: (node) => `n${node}:1` };
}

function row(id: number, on: readonly number[], more: Partial<ChunkRow> = {}): ChunkRow {
  const replicas = on.map((node) => ({ node, state: ReplicaState.AVAILABLE, synced: true, since: 0 }));
  return { ...ChunkRow.create({ id, len: 1, refs: 1, replicas }), ...more };
}

test("a chunk moves when the removal of what is too much would leave it as it shall be, and zones stay apart", (t) => {
  const view = viewOf(["x", "y", "x", "y"]);
  const imbalance = { above: new Set([1]), below: new Set([3, 4]), far: new Set([1]) };
  let moved = 0;
  for (let id = 0; id < 1000; id++) {
    const chunk = row(id, [1, 2]);
    const move = moveOf(chunk, view, imbalance, 2);
    if (move === undefined) continue;
    moved++;
    if (move.from !== 1 || move.into !== 3) t.fail(`${id}: ${JSON.stringify(move)}`);
    const surplus = surplusOf(row(id, [1, 2, move.into]), view, 2);
    if (surplus.kind !== "too many" || surplus.go.join() !== "1") t.fail(`${id}: ${JSON.stringify(surplus)}`);
  }
  t.ok(moved > 200 && moved < 800, `${moved} of 1000 move`);
  t.end();
});

test("a chunk with which something is to be done, or that has copies elsewhere, does not move", (t) => {
  const view = viewOf(["x", "y", "z"]);
  const imbalance = { above: new Set([1]), below: new Set([3]), far: new Set([3]) };
  const id = Array.from({ length: 100 }, (_, i) => i).find((i) => moveOf(row(i, [1, 2]), view, imbalance, 2)) ?? -1;
  t.ok(moveOf(row(id, [1, 2]), view, imbalance, 2));
  for (let i = 0; i < 200; i++) {
    const move = moveOf(row(i, [1, 2]), view, { above: new Set([1, 2]), below: new Set([3]), far: new Set([2]) }, 2);
    if (move?.from === 1) t.fail(`${i}: both ends of the move are near enough`);
  }
  const [copy] = row(id, [1]).replicas;
  t.equal(moveOf(row(id, [1, 2]), view, { ...imbalance, far: new Set() }, 2), undefined, "both are near enough");
  t.equal(moveOf(row(id, [1, 2], { refs: 0 }), view, imbalance, 2), undefined, "nothing names it");
  t.equal(moveOf(row(id, [1, 2], { garbage: true }), view, imbalance, 2), undefined);
  t.equal(moveOf(row(id, [1]), view, imbalance, 2), undefined, "it lacks a copy");
  t.equal(moveOf(row(id, [1, 2]), view, imbalance, 1), undefined, "it has one too many");
  t.equal(moveOf(row(id, [1, 3]), view, imbalance, 2), undefined, "the node has one");
  t.equal(moveOf(row(id, [2, 3]), view, imbalance, 2), undefined, "none is where too much is");
  const unsynced = row(id, [1, 2], { replicas: row(id, [1, 2]).replicas.map((one) => ({ ...one, synced: false })) });
  t.equal(moveOf(unsynced, view, imbalance, 2), undefined);
  const pending = { ...copy!, node: 2, state: ReplicaState.PENDING };
  t.equal(moveOf(row(id, [1], { replicas: [copy!, pending] }), view, imbalance, 2), undefined);
  t.equal(moveOf(row(id, [1, 2]), { ...view, addressOf: () => undefined }, imbalance, 2), undefined);
  t.equal(moveOf(row(id, [1, 2]), { ...view, isDraining: (node) => node === 2 }, imbalance, 2), undefined);
  t.end();
});

test("copies that share a zone move apart where there is another zone", (t) => {
  for (let id = 0; id < 50; id++) {
    const view = viewOf(["x", "y", "x", "y"]);
    const move = apartOf(row(id, [1, 3]), view, 2);
    if (move === undefined || ![2, 4].includes(move.into) || ![1, 3].includes(move.from))
      t.fail(`${id}: ${JSON.stringify(move)}`);
    const surplus = surplusOf(row(id, [1, 3, move?.into ?? 0]), view, 2);
    if (surplus.kind !== "too many" || surplus.go.join() !== `${move?.from}`)
      t.fail(`${id}: ${JSON.stringify(surplus)}`);
  }
  const view = viewOf(["x", "y", "x", "x"]);
  t.ok(apartOf(row(1, [1, 3]), view, 2));
  t.equal(apartOf(row(1, [1, 2]), view, 2), undefined, "they do not");
  t.equal(apartOf(row(1, [1, 2, 3]), view, 3), undefined, "two have to");
  t.equal(apartOf(row(1, [1, 3]), viewOf(["x", "x", "x"]), 2), undefined);
  t.equal(apartOf(row(1, [1, 3], { refs: 0 }), view, 2), undefined);
  t.end();
});

test("over 10,000 chunks the nodes come within a tenth of their share, by weights of 1 to 2 to 4 too", (t) => {
  for (const weights of [
    [1, 1, 1, 1],
    [1, 2, 4, 4, 2],
  ]) {
    // Room for a half more than there is; as in a cluster, who has more room left gets more.
    const total = weights.reduce((a, b) => a + b);
    const nodes = weights.map((weight, i) => {
      const capacity = (30_000 * weight) / total;
      return { id: i + 1, zone: `z${i}`, state: "UP", capacity, weight: capacity };
    });
    let map = NodeMap.fromPartial({ version: 1, nodes });
    const view = { ...viewOf([]), map: () => map };
    // The last node is new: everything is on the others.
    const before = NodeMap.fromPartial({ version: 1, nodes: nodes.slice(0, -1) });
    const rows = new Map<number, number[]>();
    const used = new Map<number, number>();
    for (let id = 0; id < 10_000; id++) {
      rows.set(id, place(id, before, 2));
      for (const node of rows.get(id) ?? []) used.set(node, (used.get(node) ?? 0) + 1);
    }
    const loads = () => nodes.map(({ id, capacity }) => ({ id, capacity, used: used.get(id) ?? 0 }));
    const withRoom = () => nodes.map((node) => ({ ...node, weight: node.capacity - (used.get(node.id) ?? 0) }));
    const pass = () => {
      let moves = 0;
      for (const [id, on] of rows) {
        const move = moveOf(row(id, on), view, imbalanceOf(loads(), 0), 2);
        if (move === undefined) continue;
        moves++;
        if (moves % 100 === 0) map = NodeMap.fromPartial({ version: 1, nodes: withRoom() });
        rows.set(
          id,
          on.map((node) => (node === move.from ? move.into : node)),
        );
        used.set(move.from, (used.get(move.from) ?? 0) - 1);
        used.set(move.into, (used.get(move.into) ?? 0) + 1);
      }
      return moves;
    };
    let moved = 0;
    for (let moves = pass(); moves > 0; moves = pass()) moved += moves;
    t.same(sides(imbalanceOf(loads(), 0)), [[], []], `${weights.join(":")}, ${JSON.stringify([...used])}`);
    const lacked = (20_000 * (weights.at(-1) ?? 0)) / total;
    t.ok(moved < 1.3 * lacked, `${moved} copies moved, ${lacked.toFixed(0)} were lacking`);
    const differ = [...rows.values()].every((on) => new Set(on).size === 2);
    t.ok(differ, "copies of a chunk are on different nodes");
  }
  t.end();
});
