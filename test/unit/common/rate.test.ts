import { test } from "tap";
import { Rate } from "../../../daemon/common/rate.js";
import { FakeClock } from "../../helpers/fake-clock.js";

test("a rate looks back ten seconds, or as long as there was something to see", async (t) => {
  const clock = new FakeClock();
  const rate = new Rate(clock);
  rate.note(6);
  t.equal(rate.perSecond, 6);
  await clock.advance(2_000);
  t.equal(rate.perSecond, 2, "three seconds, the present one with them");
  rate.note(3);
  await clock.advance(7_000);
  t.equal(rate.perSecond, 0.9);
  await clock.advance(1_000);
  t.equal(rate.perSecond, 0.3, "what is older does not count");
  await clock.advance(60_000);
  t.equal(rate.perSecond, 0);
});
