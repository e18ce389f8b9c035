import fc from "fast-check";
import { test } from "tap";
import { order } from "../../../../mount/clients/choice.js";
import { nodeInfo } from "./scripted-store.js";

const quiet = { isRemote: false, isBad: false, inFlight: 0 };

test("nodes that failed lately come last, then state, other machines, own zone and load decide", async (t) => {
  const nodes = [
    nodeInfo(1, "a:1", "far"),
    nodeInfo(2, "a:2", "near"),
    nodeInfo(3, "a:3", "near", "SUSPECT"),
    nodeInfo(4, "a:4", "near"),
    nodeInfo(5, "a:5", "near"),
    nodeInfo(6, "a:6", "near", "DOWN"),
  ];
  const news = ({ id }: { id: number }) => ({ isBad: id === 5, isRemote: id === 4, inFlight: id === 2 ? 3 : 0 });
  t.same(
    order(nodes, 0, { zone: "near", news }).map(({ id }) => id),
    [2, 1, 4, 3, 6, 5],
  );
});

test("equal nodes share the chunks, and every node is asked at some place", async (t) => {
  const nodes = [1, 2, 3].map((id) => nodeInfo(id, `a:${id}`, "z"));
  const firsts = [0, 1, 2, 3, 4, 5].map((chunk) => order(nodes, chunk, { zone: "z", news: () => quiet })[0]?.id);
  t.same(new Set(firsts), new Set([1, 2, 3]));
  fc.assert(
    fc.property(fc.nat(), fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }), (chunk, bad) => {
      const news = ({ id }: { id: number }) => ({ isBad: bad[id - 1] ?? false, isRemote: false, inFlight: id });
      const ids = order(nodes, chunk, { zone: "z", news }).map(({ id }) => id);
      return ids.length === 3 && new Set(ids).size === 3;
    }),
  );
});
