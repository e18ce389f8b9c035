import { test } from "tap";
import { Progress, shownTime } from "../../../daemon/cli/files/progress.js";
import { FakeClock } from "../../helpers/fake-clock.js";

const MIB = 1024 * 1024;

test("a copy tells its rate, and when it knows how much there is, how far it is and how long it will take", async (t) => {
  const clock = new FakeClock();
  const progress = new Progress(2, clock);
  progress.found(30 * MIB);
  progress.listed();
  await clock.advance(2_000);
  progress.bytes = 10 * MIB;
  t.equal(progress.line(), "0 files, 10 MiB, 5 MiB/s, looking for more");
  progress.found(10 * MIB);
  progress.listed();
  // A file counts as 256 KiB more than its bytes.
  t.equal(progress.line(), "[####................] 24 %  0 files, 10 MiB, 5 MiB/s, 0:06 left");
  await clock.advance(6_000);
  progress.bytes = 40 * MIB;
  progress.files = 2;
  t.equal(progress.line(), "[####################] 100 %  2 files, 40 MiB, 5 MiB/s, 0:00 left");
  t.equal(progress.sum(), "2 files, 40 MiB, 5 MiB/s");
});

test("before the first byte nothing is foretold", async (t) => {
  const progress = new Progress(1, new FakeClock());
  progress.found(5);
  progress.listed();
  t.equal(progress.line(), "[....................] 0 %  0 files, 0 B, 0 B/s");
});

test("times are minutes and seconds, and hours when there are some", async (t) => {
  t.same([0, 59.6, 61, 3600, 36_125].map(shownTime), ["0:00", "1:00", "1:01", "1:00:00", "10:02:05"]);
});
