import { pino } from "pino";
import { Registry } from "prom-client";
import { test } from "tap";
import { Task } from "../../../daemon/common/tasks.js";
import { FakeClock, settle } from "../../helpers/fake-clock.js";

function setUp(run: (signal: AbortSignal) => Promise<void>) {
  const clock = new FakeClock();
  const registry = new Registry();
  const parts = { clock, registry, log: pino({ level: "silent" }) };
  return { clock, registry, parts, task: new Task(parts, { name: "some-work", periodMs: 1000, jitter: 0, run }) };
}

test("a task runs after each period until it is stopped", async (t) => {
  let runs = 0;
  const { clock, task } = setUp(async () => void runs++);
  task.start();
  await clock.advance(999);
  t.equal(runs, 0);
  await clock.advance(1);
  t.equal(runs, 1);
  await clock.advance(2000);
  t.equal(runs, 3);
  await task.stop();
  await clock.advance(5000);
  t.equal(runs, 3);
  t.equal(clock.timers, 0);
});

test("runs never overlap, and who asks during a run gets one that starts afterwards", async (t) => {
  let active = 0;
  let most = 0;
  let started = 0;
  const waiting: (() => void)[] = [];
  const { task } = setUp(async () => {
    started++;
    most = Math.max(most, ++active);
    await new Promise<void>((resolve) => waiting.push(resolve));
    active--;
  });
  const first = task.runOnce();
  const second = task.runOnce();
  const third = task.runOnce();
  await settle();
  t.equal(started, 1);
  waiting.shift()?.();
  await first;
  await settle();
  t.equal(started, 2, "one run serves both who asked meanwhile");
  waiting.shift()?.();
  await Promise.all([second, third]);
  t.equal(most, 1);
  t.equal(started, 2);
});

test("a run that fails is told, counted, and tried again", async (t) => {
  let runs = 0;
  const { clock, registry, task } = setUp(async () => {
    if (++runs < 3) throw new Error("not now");
  });
  await t.rejects(task.runOnce(), /not now/);
  task.start();
  await clock.advance(1000);
  t.notMatch(await registry.metrics(), /last_success_timestamp_seconds\{task="some-work"\}/);
  await clock.advance(1000);
  t.equal(runs, 3);
  const text = await registry.metrics();
  t.match(text, /bigfs_task_failures_total\{task="some-work"\} 2/);
  t.match(text, /bigfs_task_last_success_timestamp_seconds\{task="some-work"\} 1700000003/);
  await task.stop();
});

test("stop aborts the running one, waits for it, and starts no other", async (t) => {
  let runs = 0;
  const { task } = setUp(async (signal) => {
    runs++;
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  });
  task.start();
  const running = task.runOnce();
  const queued = task.runOnce().then(
    () => "ran",
    () => "refused",
  );
  await task.stop();
  await running;
  t.equal(await queued, "refused");
  t.equal(runs, 1);
});

test("tasks of one process share their metrics", async (t) => {
  const { parts, registry } = setUp(async () => {});
  await new Task(parts, { name: "other-work", periodMs: 1, run: async () => {} }).runOnce();
  t.match(await registry.metrics(), /task="other-work"/);
});
