import { pino } from "pino";
import { test } from "tap";
import type { ChunkStore } from "../../../daemon/store/chunk-store.js";
import { Reports } from "../../../daemon/store/reports.js";
import type { NodeFrame } from "../../../proto/gen/bigfs/v1/node.js";
import { FakeClock, settle } from "../../helpers/fake-clock.js";

type Op = NonNullable<NodeFrame["op"]>;

/** The reports of node 7, which has every chunk below 100; the metadata daemon answers when it is told to. */
function make() {
  const clock = new FakeClock();
  const sent: Op[] = [];
  const answers: (() => void)[] = [];
  const entry = (id: number) => (id < 100 ? { len: 10, crc: id, synced: false, unverified: false } : undefined);
  const reports = new Reports({
    store: { entry } as Partial<ChunkStore> as ChunkStore,
    log: pino({ level: "silent" }),
    self: () => 7,
    clock,
    report: (op) => {
      sent.push(op);
      return new Promise((resolve) => answers.push(resolve));
    },
  });
  const sizes = () => sent.map((op) => (op.$case === "confirm" ? op.value.chunks.length : 0));
  const answer = async () => {
    answers.shift()?.();
    await settle();
  };
  return { clock, reports, sent, sizes, answer };
}

test("copies are confirmed ten at a time, each batch when the one before is recorded", async (t) => {
  const { reports, sizes, answer } = make();
  const all = Promise.all(Array.from({ length: 25 }, (_, id) => reports.confirm(id)));
  await settle();
  t.same(sizes(), [10]);
  await answer();
  t.same(sizes(), [10, 10]);
  await answer();
  await answer();
  t.same(sizes(), [10, 10, 5]);
  await all;
});

test("copies that a primary has sent are confirmed after a while, and not when they are gone by then", async (t) => {
  const { clock, reports, sent, sizes } = make();
  for (const chunk of [1, 2, 100]) reports.copied(chunk);
  await settle();
  t.same(sent, [], "the primary registers them most probably");
  await clock.advance(500);
  t.same(sizes(), [2]);
  t.match(sent, [{ value: { chunks: [{ chunk: 1, nodes: [7], synced: [] }, { chunk: 2 }] } }]);
});
