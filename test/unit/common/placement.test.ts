import fc from "fast-check";
import { test } from "tap";
import { place } from "../../../daemon/common/placement.js";
import type { NodeInfo, NodeMap } from "../../../proto/gen/bigfs/v1/node.js";

function node(id: number, fields: Partial<NodeInfo> = {}): NodeInfo {
  return {
    id,
    name: `n${id}`,
    address: `127.0.0.1:${5000 + id}`,
    zone: `z${id}`,
    weight: 1,
    state: "UP",
    capacity: 0,
    used: 0,
    chunks: 0,
    load: undefined,
    uuid: `u${id}`,
    ...fields,
  };
}

const mapOf = (nodes: NodeInfo[]): NodeMap => ({ version: 1, nodes });
const CHUNKS = 10_000;
const BASE = 3 * 2 ** 40;

test("each node is primary for its share by weight, within 10 %", (t) => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 10, max: 40 }), { minLength: 2, maxLength: 5 }),
        fc.nat(1e6),
        (weights, at) => {
          const map = mapOf(weights.map((weight, i) => node(i + 1, { weight })));
          const total = weights.reduce((a, b) => a + b);
          const count = new Map<number, number>();
          for (let i = 0; i < CHUNKS; i++) {
            const [primary] = place(BASE + at + i, map, 1);
            count.set(primary ?? 0, (count.get(primary ?? 0) ?? 0) + 1);
          }
          return weights.every((weight, i) => {
            const due = (CHUNKS * weight) / total;
            // Four standard deviations where a small share makes 10 % too sharp.
            const allowed = Math.max(due * 0.1, 4 * Math.sqrt(due));
            return Math.abs((count.get(i + 1) ?? 0) - due) <= allowed;
          });
        },
      ),
      { numRuns: 10, seed: 7 },
    ),
  );
  t.end();
});

test("over 10,000 chunks all copies together are within 10 % of weight, and in different zones", (t) => {
  for (const [weights, zones, copies] of [
    [[1, 1, 1, 1, 1, 1], 6, 2],
    [[1, 1, 1, 1, 1, 1], 3, 3],
    // Two copies of a chunk on three nodes would give none of them more than half of all.
    [[1, 2, 4], 3, 1],
    [[1, 2, 4, 1, 2, 4, 1, 2, 4, 1, 2, 4], 12, 2],
    [[1, 2, 4, 1, 2, 4, 1, 2, 4, 1, 2, 4], 4, 2],
    [[1, 2, 4, 1, 2, 4, 1, 2, 4, 1, 2, 4], 4, 3],
  ] as const) {
    const zoneOf = (id: number) => `z${Math.floor(((id - 1) * zones) / weights.length)}`;
    const map = mapOf(weights.map((weight, i) => node(i + 1, { weight, zone: zoneOf(i + 1) })));
    const count = new Map<number, number>();
    for (let i = 0; i < CHUNKS; i++) {
      const chosen = place(BASE + i, map, copies);
      if (new Set(chosen.map(zoneOf)).size !== copies) t.fail(`chunk ${i} is on ${chosen.join()}`);
      for (const id of chosen) count.set(id, (count.get(id) ?? 0) + 1);
    }
    const total = weights.reduce((a: number, b) => a + b, 0);
    weights.forEach((weight, i) => {
      const share = (count.get(i + 1) ?? 0) / ((CHUNKS * copies * weight) / total);
      t.ok(
        share > 0.9 && share < 1.1,
        `${weights.join(":")} in ${zones} zones, ${copies} copies: node ${i + 1} ${share}`,
      );
    });
  }
  t.end();
});

test("when a node leaves, only its own copies move", (t) => {
  const nodes = [1, 2, 3, 4, 5].map((id) => node(id, { weight: id }));
  for (let i = 0; i < 2_000; i++) {
    const before = place(BASE + i, mapOf(nodes), 3);
    const after = place(BASE + i, mapOf(nodes.filter((n) => n.id !== 3)), 3);
    const kept = before.filter((id) => id !== 3);
    t.same(
      kept.filter((id) => !after.includes(id)),
      [],
      "a copy moved without need",
    );
    if (!before.includes(3)) t.same(after, before);
  }
  t.end();
});

test("copies are of distinct UP nodes, in as many zones as there are, and not where they may not be", (t) => {
  const states = ["JOINING", "UP", "SUSPECT", "DOWN", "DRAINING", "RETIRED"];
  const anyNode = fc.record({ zone: fc.integer({ min: 0, max: 3 }), state: fc.constantFrom("UP", "UP", ...states) });
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(
        fc.array(anyNode, { maxLength: 8 }),
        fc.integer({ min: 1, max: 4 }),
        fc.nat(2 ** 40),
        fc.uniqueArray(fc.integer({ min: 1, max: 8 }), { maxLength: 3 }),
        fc.uniqueArray(fc.integer({ min: 1, max: 8 }), { maxLength: 3 }),
        (specs, copies, chunk, exclude, hold) => {
          const nodes = specs.map((s, i) => node(i + 1, { zone: `z${s.zone}`, state: s.state }));
          const opts = { exclude: new Set(exclude), hold: new Set(hold) };
          const chosen = place(chunk, mapOf(nodes), copies, opts);
          const free = nodes.filter((n) => n.state === "UP" && !exclude.includes(n.id) && !hold.includes(n.id));
          const zoneOf = (id: number) => nodes.find((n) => n.id === id)?.zone;
          const heldZones = new Set(nodes.filter((n) => hold.includes(n.id)).map((n) => n.zone));
          const freshZones = new Set(free.map((n) => n.zone).filter((z) => !heldZones.has(z)));
          const usedFresh = new Set(chosen.map(zoneOf).filter((z) => z !== undefined && freshZones.has(z)));
          return (
            chosen.length === Math.min(copies, free.length) &&
            new Set(chosen).size === chosen.length &&
            chosen.every((id) => free.some((n) => n.id === id)) &&
            usedFresh.size === Math.min(chosen.length, freshZones.size)
          );
        },
      ),
      { numRuns: 500, seed: 11 },
    ),
  );
  t.end();
});

test("the order of the map does not matter", (t) => {
  const nodes = [1, 2, 3, 4].map((id) => node(id, { zone: `z${id % 2}` }));
  for (let i = 0; i < 200; i++) {
    t.same(place(BASE + i, mapOf([...nodes].reverse()), 3), place(BASE + i, mapOf(nodes), 3));
  }
  t.end();
});

test("disks of one host get two copies only when there is no other host in a zone with as few", async (t) => {
  const disk = (id: number, host: number, zone: string) => node(id, { address: `10.0.0.${host}:50051`, zone });
  const oneZone = mapOf([disk(1, 1, "z"), disk(2, 1, "z"), disk(3, 2, "z"), disk(4, 2, "z")]);
  const hosts = new Map([1, 2, 3, 4].map((id) => [id, id <= 2 ? 1 : 2]));
  for (let i = 0; i < 500; i++) {
    const [a = 0, b = 0, c = 0] = place(BASE + i, oneZone, 3);
    if (hosts.get(a) === hosts.get(b) || new Set([a, b, c]).size < 3) t.fail(`chunk ${i} is on ${a}, ${b} and ${c}`);
    const [repaired = 0] = place(BASE + i, oneZone, 1, { hold: new Set([1]) });
    if (repaired < 3) t.fail(`chunk ${i} goes to the host that has it`);
  }
  // A zone of its own counts more: both hosts of that one fail together.
  const racks = mapOf([disk(1, 1, "a"), disk(2, 2, "a"), disk(3, 1, "b")]);
  for (let i = 0; i < 500; i++) {
    if (!place(BASE + i, racks, 2).includes(3)) t.fail(`chunk ${i} is in one zone`);
  }
});
