import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import root, { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { must, run, sh } from "../helpers/run.js";
import { until } from "../helpers/until.js";

let cluster: TestCluster;
let second: string;

root.before(async () => {
  cluster = await TestCluster.start(root);
  second = await cluster.mountAgain("second");
});

/** Opens a file for writing and closes it without having written, until the other file is there. */
const OPEN_AND_CLOSE = `
import os, sys
path, stop = sys.argv[1:]
count = 0
while not os.path.exists(stop):
    fd = os.open(path, os.O_RDWR)
    if count % 3 == 0: os.fsync(fd)
    os.close(fd)
    count += 1
print(count)`;

/** Cuts a file, makes it longer and writes into it, and looks at it each time; leaves what it must be in another file. */
const RESHAPE = `
import os, random, sys
path, into, seed, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
fd = os.open(path, os.O_RDWR)
content = bytearray()
for step in range(steps):
    how, size = rng.choice(["cut", "cut", "open", "write"]), rng.randrange(3 << 20)
    if how == "cut":
        os.ftruncate(fd, size)
        content[size:] = bytes(max(0, size - len(content)))
    elif how == "open":
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
        content.clear()
    else:
        data, off = rng.randbytes(rng.randrange(1, 300_000)), rng.randrange(len(content) + 1)
        os.pwrite(fd, data, off)
        content[off : off + len(data)] = data
    if os.fstat(fd).st_size != len(content):
        sys.exit(f"seed {seed}, step {step}, {how}: {os.fstat(fd).st_size} bytes, must be {len(content)}")
    off = rng.randrange(len(content) + 1)
    if os.pread(fd, 100_000, off) != content[off : off + 100_000]:
        sys.exit(f"seed {seed}, step {step}, {how}: wrong content at {off}")
os.close(fd)
open(into, "wb").write(content)`;

test("who opens a file for writing and closes it unwritten does not undo truncations by another mount (D14)", async (t) => {
  const [stop, expected] = ["opened-stop", "expected"].map((name) => join(cluster.dir, name)) as [string, string];
  await writeFile(join(cluster.mnt, "opened"), "");
  const opening = must("python3", ["-c", OPEN_AND_CLOSE, join(second, "opened"), stop]);
  const seed = Math.floor(Math.random() * 1e9);
  const { code, stderr } = await run("python3", [
    "-c",
    RESHAPE,
    join(cluster.mnt, "opened"),
    expected,
    `${seed}`,
    "100",
  ]);
  t.equal(code, 0, stderr);
  await writeFile(stop, "");
  t.ok(Number(await opening) > 0);
  for (const mnt of [cluster.mnt, second]) await must("cmp", [expected, join(mnt, "opened")]);
});

/** Writes, sets the times while it is stored, and closes; prints what the descriptor says before. */
const TIMES = `
import os, sys
path, sync = sys.argv[1], sys.argv[2] == "sync"
fd = os.open(path, os.O_RDWR | os.O_CREAT)
for i in range(20):
    os.pwrite(fd, os.urandom(700_000), i * 300_000)
    os.utime(fd, ns=(10**18 + i, 10**18 + 7 * i))
    if sync: os.fsync(fd)
    if os.fstat(fd).st_mtime_ns != 10**18 + 7 * i: sys.exit(f"{i}: {os.fstat(fd).st_mtime_ns}")
os.close(fd)`;

test("times that are set after a write stay, whatever of it is still to be stored (D36)", async (t) => {
  for (const how of ["sync", "no"]) {
    await must("python3", ["-c", TIMES, join(cluster.mnt, how), how]);
    for (const mnt of [cluster.mnt, second]) {
      t.equal((await must("stat", ["-c", "%.9Y", join(mnt, how)])).trim(), "1000000000.000000133");
    }
  }
  await sh("head -c 5M /dev/urandom > f; touch -d @1234567.5 f; cp -p f g", { cwd: cluster.mnt });
  t.equal((await must("stat", ["-c", "%.9Y", join(second, "g")])).trim(), "1234567.500000000");
});

/** Writes more than is stored at once, cuts the file to nothing meanwhile, and writes less. */
const CUT_WHILE_STORING = `
import os, random, sys
path, seed = sys.argv[1], int(sys.argv[2])
rng = random.Random(seed)
for step in range(15):
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"o" * rng.randrange(2 << 20, 8 << 20), 0)
    size = rng.choice([0, 0, 1, 5000, 1_500_000])
    os.ftruncate(fd, size)
    last = b"n" * rng.choice([0, 10, 5000, 1_200_000])
    os.pwrite(fd, last, 0)
    os.close(fd)
    must = last + b"o" * max(0, size - len(last))
    for where in sys.argv[3:]:
        if (found := open(where, "rb").read()) != must:
            sys.exit(f"seed {seed}, step {step}: {len(found)} bytes in {where}, must be {len(must)}")`;

test("what was written before a truncation does not come back when its upload ends (D36)", async (t) => {
  const [here, there] = [join(cluster.mnt, "cut"), join(second, "cut")];
  const seed = `${Math.floor(Math.random() * 1e9)}`;
  const { code, stderr } = await run("python3", ["-c", CUT_WHILE_STORING, here, seed, here, there]);
  t.equal(code, 0, stderr);
});

/** Appends numbered lines until the other file is there; prints the last number. */
const LOG = `
import os, sys
path, stop = sys.argv[1:]
fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
number = 0
while not os.path.exists(stop):
    number += 1
    os.write(fd, b"%09d %s\\n" % (number, b"x" * (number * 37 % 900)))
os.close(fd)
print(number)`;

test("a log that another mount copies and cuts goes on at its new end, without zeros (D36)", async (t) => {
  const stop = join(cluster.dir, "log-stop");
  await writeFile(join(cluster.mnt, "log"), "");
  const logging = must("python3", ["-c", LOG, join(cluster.mnt, "log"), stop]);
  for (let i = 0; i < 5; i++) {
    await until(async () => (await readFile(join(second, "log"))).length >= 200_000);
    await sh("cp log log.1; truncate -s 0 log", { cwd: second });
    const copied = (await readFile(join(second, "log.1"), "latin1")).split("\n");
    check(copied.slice(0, -1), "the copy");
  }
  await writeFile(stop, "");
  const last = Number(await logging);
  const left = (await readFile(join(second, "log"), "latin1")).split("\n");
  t.equal(left.pop(), "", "whole lines");
  check(left, "what is left");
  if (left.length > 1) t.equal(Number(left.at(-1)?.slice(0, 9)), last);

  /** Lines, each the next one; of the first only the end, when the cut came between: the kernel sends it page by page. */
  function check([torn, ...lines]: readonly string[], what: string): void {
    t.match(torn ?? "", /^[0-9 x]*$/, `${what} begins with what was written`);
    const first = Number(lines[0]?.slice(0, 9));
    const wrong = lines.findIndex((line, i) => {
      const number = first + i;
      return line !== `${String(number).padStart(9, "0")} ${"x".repeat((number * 37) % 900)}`;
    });
    t.equal(wrong, -1, `${what}: ${JSON.stringify(lines[wrong]?.slice(0, 60))} is line ${wrong} of ${lines.length}`);
  }
});
