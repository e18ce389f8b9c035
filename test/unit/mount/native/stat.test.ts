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
