import { test } from "tap";
import { ServerClock } from "../../../../mount/clients/server-clock.js";
import { FakeClock } from "../../../helpers/fake-clock.js";
import { connected } from "./scripted-meta.js";

const WALL_SEC = 1_700_000_000;

test("the host's clock counts while it agrees with the daemon's, and otherwise the daemon's", async (t) => {
  const clock = new FakeClock(WALL_SEC);
  const time = new ServerClock(clock);
  t.same(time.now(), clock.now(), "nothing is known yet");
  time.greeted((WALL_SEC + 1) * 1000 - 90);
  t.same(time.now(), clock.now(), "the greeting was under way");
  await clock.advance(3_600_000);
  t.same(time.now(), clock.now(), "an hour later too");
  time.greeted((WALL_SEC - 500) * 1000);
  t.same(time.now(), { sec: WALL_SEC - 500, nsec: 0 }, "the host is ahead");
  await clock.advance(1_500);
  t.same(time.now(), { sec: WALL_SEC - 499, nsec: 500_000_000 }, "and its time goes on");
});

test("a client learns the daemon's time with its greeting", async (t) => {
  const clock = new FakeClock(WALL_SEC);
  const { client } = await connected(t, { clock });
  const { sec } = client.now();
  t.ok(Math.abs(sec - Date.now() / 1000) < 60, "the scripted daemon has the machine's time");
});
