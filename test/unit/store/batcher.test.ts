import { test } from "tap";
import { Batcher } from "../../../daemon/store/batcher.js";

test("what is added while a batch is under way goes together in the next", async (t) => {
  const sent: number[][] = [];
  let release = (): void => {};
  const batcher = new Batcher<number>(async (items) => {
    sent.push([...items]);
    await new Promise<void>((resolve) => (release = resolve));
  }, 3);
  const first = [1, 2].map((n) => batcher.add(n));
  await Promise.resolve();
  const second = [3, 4, 5, 6].map((n) => batcher.add(n));
  release();
  await Promise.all(first);
  t.same(sent, [
    [1, 2],
    [3, 4, 5],
  ]);
  release();
  await Promise.all(second.slice(0, 3));
  release();
  await Promise.all(second);
  t.same(sent.at(-1), [6]);
});

test("one bad item costs only itself", async (t) => {
  const sent: number[][] = [];
  const batcher = new Batcher<number>(async (items) => {
    sent.push([...items]);
    if (items.includes(2)) throw new Error("two");
  });
  const results = await Promise.allSettled([1, 2, 3].map((n) => batcher.add(n)));
  t.same(
    results.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  t.same(sent, [[1, 2, 3], [1], [2], [3]]);
});

test("what comes while it gathers goes along", async (t) => {
  const sent: number[][] = [];
  let release = (): void => {};
  const send = (items: readonly number[]): Promise<void> => Promise.resolve(void sent.push([...items]));
  const batcher = new Batcher<number>(send, 3, () => new Promise((resolve) => (release = resolve)));
  const first = batcher.add(1);
  await Promise.resolve();
  const second = batcher.add(2);
  t.same(sent, []);
  release();
  await Promise.all([first, second]);
  t.same(sent, [[1, 2]]);
});
