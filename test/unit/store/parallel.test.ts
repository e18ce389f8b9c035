import { test } from "tap";
import { Budget, KeyedLock, eachOf } from "../../../daemon/store/parallel.js";
import { settle } from "../../helpers/fake-clock.js";

test("a budget is never exceeded, serves in order, and lets through what is larger than all of it when nobody else has any", async (t) => {
  const budget = new Budget(10);
  const got: number[] = [];
  for (const amount of [6, 5, 1, 25, 2]) void budget.take(amount).then(() => got.push(amount));
  await settle();
  t.same(got, [6], "one that would fit waits behind one that came before it");
  budget.give(6);
  await settle();
  t.same(got, [6, 5, 1]);
  budget.give(5);
  await settle();
  t.same(got, [6, 5, 1]);
  budget.give(1);
  await settle();
  t.same(got, [6, 5, 1, 25]);
  budget.give(25);
  await settle();
  t.equal(budget.taken, 2);
});

test("work under one key runs one at a time and in order, also after a failure; other keys do not wait", async (t) => {
  const lock = new KeyedLock();
  const log: string[] = [];
  const work = (name: string) => async () => {
    log.push(`${name} begins`);
    await settle();
    log.push(`${name} ends`);
    if (name === "a") throw new Error("a");
  };
  await Promise.allSettled([lock.run(1, work("a")), lock.run(1, work("b")), lock.run(2, work("c"))]);
  t.ok(log.indexOf("b begins") > log.indexOf("a ends"));
  t.ok(log.indexOf("c begins") < log.indexOf("a ends"));
});

test("after a failure nothing new begins, and what had begun is waited for", async (t) => {
  const done: number[] = [];
  const run = eachOf([1, 2, 3, 4, 5], 2, async (n) => {
    if (n === 1) throw new Error("one");
    await settle();
    done.push(n);
  });
  await t.rejects(run, { message: "one" });
  t.same(done, [2]);
});
