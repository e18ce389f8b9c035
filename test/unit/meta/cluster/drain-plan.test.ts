import { test } from "tap";
import { mustBeDrainable } from "../../../../daemon/meta/cluster/drain-plan.js";

const GIB = 2 ** 30;
const node = (usedGib: number) => ({ capacity: 10 * GIB, used: usedGib * GIB });

test("a node can be drained when the others are enough, in number and in space", (t) => {
  const facts = { name: "b", wanted: 2, bytes: 4 * GIB };
  t.doesNotThrow(() => mustBeDrainable({ ...facts, rest: [node(8), node(8)] }));
  t.throws(() => mustBeDrainable({ ...facts, rest: [node(0)] }), {
    message: /^EBUSY: without b 1 node would be left for 2 copies: start another storage daemon first$/,
  });
  t.throws(() => mustBeDrainable({ ...facts, wanted: 3, rest: [node(0), node(0)] }), {
    message: /^EBUSY: .*2 nodes would be left for 3 copies/,
  });
  t.throws(() => mustBeDrainable({ ...facts, rest: [node(9), node(8)] }), {
    message: /^ENOSPC: 4.*GiB would have to move off b, and the other nodes have 3.*GiB left: add space first$/,
  });
  t.throws(() => mustBeDrainable({ ...facts, rest: [{ capacity: GIB, used: 20 * GIB }, node(7)] }), {
    message: /^ENOSPC/,
  });
  t.end();
});
