import { test } from "tap";
import { Control, Meter, Stopped } from "../../../daemon/cli/bench/meter.js";
import type { Clock } from "../../../daemon/common/clock.js";

/** A clock that goes on only when it is told to. */
function handClock() {
  let ms = 100;
  const clock = { monotonicMs: () => ms } as Clock;
  return { clock, pass: (more: number) => void (ms += more) };
}

test("calls are timed one by one, and all from the first to the last", async (t) => {
  const { clock, pass } = handClock();
  const control = new Control();
  const meter = new Meter(clock, control, 3);
  pass(50);
  t.equal(
    meter.time(() => (pass(2), "result")),
    "result",
  );
  pass(10);
  meter.time(() => pass(5));
  pass(50);
  const { samples, elapsedMs } = meter.measured();
  t.same([...samples], [2, 5]);
  t.equal(elapsedMs, 17);
  t.equal(control.counted, 2);
});

test("who is told to stop makes no further call", async (t) => {
  const { clock } = handClock();
  const control = new Control();
  // As another thread sees it.
  const meter = new Meter(clock, new Control(control.shared), 1);
  control.stop();
  t.throws(() => meter.time(() => t.fail("it was called")), Stopped);
  t.equal(control.counted, 0);
});
