import { test } from "tap";
import { Compaction } from "../../../../daemon/meta/compaction.js";
import { key } from "../../../../daemon/meta/keys.js";
import { FakeClock } from "../../../helpers/fake-clock.js";

function lab() {
  const clock = new FakeClock();
  const asked: string[] = [];
  const ask = (session: number, { ino, slot }: { ino: number; slot: number }) =>
    void asked.push(`${session}: ${ino}/${slot}`);
  return { clock, asked, compaction: new Compaction({ clock, ask }, { periodMs: 100 }) };
}

test("who used a crowded slot last is asked to compact it, once, some time after it was seen", async (t) => {
  const { clock, asked, compaction } = lab();
  compaction.note(1, [key.slot(7, 0)]);
  await clock.advance(60);
  compaction.note(2, [key.slot(7, 0)]);
  compaction.pass();
  t.same(asked, []);
  await clock.advance(40);
  compaction.pass();
  compaction.pass();
  t.same(asked, ["2: 7/0"]);
});

test("what the client read to compact is not asked for again when it is done, and is when it was changed", async (t) => {
  const { clock, asked, compaction } = lab();
  for (const isDone of [true, false]) {
    compaction.note(1, [key.slot(7, 3)]);
    if (isDone) compaction.compacted(key.slot(7, 3));
    await clock.advance(100);
    compaction.pass();
    t.same(asked.splice(0), isDone ? [] : ["1: 7/3"]);
  }
  t.equal(compaction.done, 1);
});

test("a few slots are asked for at once, the oldest first; beyond a limit none are remembered", async (t) => {
  const { clock, asked, compaction } = lab();
  compaction.note(
    1,
    Array.from({ length: 20_000 }, (_, slot) => key.slot(7, slot)),
  );
  t.equal(compaction.size, 10_000);
  await clock.advance(100);
  compaction.pass();
  t.same(
    asked,
    Array.from({ length: 8 }, (_, slot) => `1: 7/${slot}`),
  );
});
