import { test } from "tap";
import { shownIno, statfsInts, timeOf } from "../../../../mount/native/stat.js";

test("inode numbers in 32 bits are never 0, and differ for files made one after the other and in two incarnations", (t) => {
  const shown = new Set<number>();
  for (const incarnation of [1, 2, 3]) {
    for (let n = 0; n < 1000; n++) shown.add(shownIno(incarnation * 2 ** 40 + n));
  }
  shown.add(shownIno(1));
  t.equal(shown.size, 3001);
  t.ok([...shown].every((ino) => Number.isInteger(ino) && ino > 1 && ino < 2 ** 32));
  t.end();
});

test("a volume of more blocks than 32 bits can count has longer blocks", (t) => {
  const [, block = 0, blocks = 0, free = 0] = statfsInts({ capacity: 2 ** 50, free: 2 ** 49, inodes: 7 });
  t.equal(block * blocks, 2 ** 50);
  t.equal(block * free, 2 ** 49);
  t.end();
});

test("milliseconds come as two halves, also before 1970", (t) => {
  t.same(timeOf(1500, 0), { sec: 1, nsec: 500_000_000 });
  t.same(timeOf(2 ** 32 - 1500, 2 ** 32 - 1), { sec: -2, nsec: 500_000_000 });
  t.same(timeOf(0, 1), { sec: 4294967, nsec: 296_000_000 });
  t.end();
});

test("a time that is too far away is the nearest one that can be stored, never one that cannot be sent", (t) => {
  const most = Number.MAX_SAFE_INTEGER;
  const halves = (ms: bigint) => [Number(ms & 0xffff_ffffn), Number((ms >> 32n) & 0xffff_ffffn)] as const;
  t.same(timeOf(...halves(2n ** 53n * 1000n)), { sec: most, nsec: 0 });
  t.same(timeOf(...halves(-(2n ** 53n) * 1000n)), { sec: -most, nsec: 0 });
  for (let power = 50n; power < 63n; power++) {
    for (const ms of [2n ** power + 123n, -(2n ** power) - 123n]) {
      const { sec, nsec } = timeOf(...halves(ms));
      t.ok(Number.isSafeInteger(sec) && nsec >= 0 && nsec < 1e9, `${ms} ms: ${sec} s, ${nsec} ns`);
    }
  }
  t.end();
});
