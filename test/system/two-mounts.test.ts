import { appendFile, mkdir, readFile, readdir, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import root, { test } from "tap";
import { DRIVERS, type Driver } from "../../mount/driver.js";
import { TestCluster } from "../helpers/cluster.js";
import { must } from "../helpers/run.js";
import { shared } from "../helpers/shared.js";

/** How many files each mount makes. */
const FILES = { own: 5000, "fuse-native": 1000 } as const;
/** Records of each process. */
const APPENDS = "200";
const FOLDERS = { own: "40", "fuse-native": "10" } as const;

interface Pair {
  readonly cluster: TestCluster;
  readonly second: string;
}

async function pairOf(driver: Driver): Promise<Pair> {
  const cluster = await TestCluster.start(root, ["--driver", driver]);
  return { cluster, second: await cluster.mountAgain("second", ["--driver", driver]) };
}

/** Clusters with two mounts by the same driver. */
const PAIRS: Readonly<Record<Driver, () => Promise<Pair>>> = {
  own: shared(() => pairOf("own")),
  "fuse-native": shared(() => pairOf("fuse-native")),
};

/** Who is connected, by session. */
async function sessions(cluster: TestCluster): Promise<number[]> {
  return (await cluster.status()).sessions.filter(({ connected }) => connected).map(({ id }) => id);
}

for (const driver of DRIVERS) {
  test(`what one mount closed, the other (by ${driver}) reads, in every way of changing a file`, async (t) => {
    const { cluster } = await PAIRS.own();
    const a = cluster.mnt;
    const b = await cluster.mountAgain(`by-${driver}`, ["--driver", driver]);
    const both = async (name: string) => [await readFile(join(a, name), "utf8"), await readFile(join(b, name), "utf8")];
    await writeFile(join(a, "f"), "one");
    t.same(await both("f"), ["one", "one"], "created");
    await appendFile(join(b, "f"), "two");
    t.same(await both("f"), ["onetwo", "onetwo"], "appended from the other side");
    await writeFile(join(a, "f"), "x".repeat(3_000_000));
    t.equal((await both("f"))[1]?.length, 3_000_000, "grown over chunks");
    await writeFile(join(b, "f"), "short");
    t.same(await both("f"), ["short", "short"], "truncated and rewritten");
    await must("mv", [join(a, "f"), join(a, "g")]);
    await t.rejects(readFile(join(b, "f")), { code: "ENOENT" }, "the old name is gone at once");
    t.equal(await readFile(join(b, "g"), "utf8"), "short", "the new name is there at once");
    await unlink(join(b, "g"));
    await t.rejects(stat(join(a, "g")), { code: "ENOENT" }, "a removed file is gone at once");
    await must("umount", [b]);
  });

  test(`two mounts create, stat and unlink files in one folder at the same time and nobody is fenced (D31; ${driver})`, async (t) => {
    const { cluster, second } = await PAIRS[driver]();
    const [a, b] = [join(cluster.mnt, "shared"), join(second, "shared")];
    await mkdir(a);
    const files = FILES[driver];
    const before = await sessions(cluster);
    // Child processes, so that this one never waits on a mount synchronously.
    const script = (dir: string, mark: string) =>
      `
      import os
      for i in range(${files}):
          path = "${dir}/${mark}%d" % i
          os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
          os.stat(path)
      for i in range(${files - 10}): os.unlink("${dir}/${mark}%d" % i)`.replaceAll("\n      ", "\n");
    await Promise.all([must("python3", ["-c", script(a, "a")]), must("python3", ["-c", script(b, "b")])]);
    const left = ["a", "b"].flatMap((m) => Array.from({ length: 10 }, (_, i) => `${m}${files - 10 + i}`));
    t.same((await readdir(a)).sort(), left);
    t.same((await readdir(b)).sort(), left);
    t.same(await sessions(cluster), before, "each goes on with its session");
    for (const log of ["mount", "second"]) {
      const text = await readFile(join(cluster.data, "log", `${log}.log`), "utf8");
      t.notMatch(text, /fenced/, `${log} kept its session`);
    }
    await cluster.staysSmall(t);
  });

  test(`a name that one mount removes is gone for the other when unlink returns, also in a folder that nobody else knew (${driver})`, async (t) => {
    const { cluster, second } = await PAIRS[driver]();
    const script = `
      import errno, os, sys
      a, b, folders = sys.argv[1:]
      seen = []
      for folder in range(int(folders)):
          os.mkdir(f"{a}/{folder}")
          for i in range(30): os.close(os.open(f"{a}/{folder}/{i}", os.O_CREAT | os.O_WRONLY))
          # In each second folder the other looks at the end, in the others after another number of removals.
          first = 29 if folder % 2 else folder % 30
          for i in range(30):
              os.unlink(f"{a}/{folder}/{i}")
              if i < first: continue
              try: os.stat(f"{b}/{folder}/{i}"); seen.append((folder, i))
              except FileNotFoundError: pass
          left = os.listdir(f"{b}/{folder}")
          if left: seen.append((folder, left))
          # Once both use it, times may be a few milliseconds old.
          if first == 29 and os.stat(f"{a}/{folder}").st_mtime_ns != os.stat(f"{b}/{folder}").st_mtime_ns:
              seen.append((folder, "mtime"))
      print(seen)`.replaceAll("\n      ", "\n");
    t.equal((await must("python3", ["-c", script, cluster.mnt, second, FOLDERS[driver]])).trim(), "[]");
  });
}

test("records that processes append on two mounts are all there and whole", async (t) => {
  const { cluster, second } = await PAIRS.own();
  const script = `
    import os, random, struct, sys, zlib
    path, writer, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(writer)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    for i in range(count):
        body = bytes([chance.randrange(1, 256)]) * chance.choice([1, 100, 3000, 4095, 5000, 70000, 300000])
        head = struct.pack(">III", writer, i, len(body))
        record = head + body + struct.pack(">I", zlib.crc32(head + body))
        assert os.write(fd, record) == len(record)
    os.close(fd)`.replaceAll("\n    ", "\n");
  const check = `
    import struct, sys, zlib
    data = open(sys.argv[1], "rb").read()
    at, seen = 0, {}
    while at < len(data):
        writer, i, length = struct.unpack_from(">III", data, at)
        end = at + 12 + length
        assert zlib.crc32(data[at:end]) == struct.unpack_from(">I", data, end)[0], (at, writer, i)
        assert seen.get(writer, -1) == i - 1, (at, writer, i, seen)
        seen[writer], at = i, end + 4
    print(sorted(seen.items()))`.replaceAll("\n    ", "\n");
  await writeFile(join(cluster.mnt, "log"), "");
  const mounts = [cluster.mnt, second, cluster.mnt, second];
  await Promise.all(mounts.map((mnt, i) => must("python3", ["-c", script, join(mnt, "log"), `${i}`, APPENDS])));
  for (const mnt of [cluster.mnt, second]) {
    const last = Number(APPENDS) - 1;
    t.equal(
      (await must("python3", ["-c", check, join(mnt, "log")])).trim(),
      `[${[0, 1, 2, 3].map((i) => `(${i}, ${last})`).join(", ")}]`,
    );
  }
});

test("what is written to an open file the other mount sees before it is closed", async (t) => {
  const { cluster, second } = await PAIRS.own();
  const script = `
    import os, sys
    a, b = (os.path.join(mnt, "f") for mnt in sys.argv[1:])
    writer = os.open(a, os.O_RDWR | os.O_CREAT)
    os.write(writer, b"before")
    seen = [open(b).read()]
    reader = os.open(b, os.O_RDONLY)
    for i in range(300):
        os.pwrite(writer, b"%06d" % i, 0)
        if os.pread(reader, 6, 0) != b"%06d" % i: seen.append(i)
    back = os.open(b, os.O_RDWR)
    for i in range(300):
        os.pwrite(back, b"%06d" % (1000 + i), 0)
        if os.pread(reader, 6, 0) != b"%06d" % (1000 + i): seen.append(("reader", i))
        if os.pread(writer, 6, 0) != b"%06d" % (1000 + i): seen.append(("writer", i))
        os.pwrite(writer, b"x" * (i + 1), 100)
        if os.fstat(back).st_size != 101 + i or os.pread(back, 1, 100 + i) != b"x": seen.append(("size", i))
    appending = os.open(a, os.O_RDWR | os.O_APPEND)
    for i in range(20):
        os.ftruncate(back, 1000 * (i + 1))
        os.write(appending, b"end")
        if os.lseek(appending, 0, os.SEEK_END) != 1000 * (i + 1) + 3: seen.append(("end", i))
    print(seen)`.replaceAll("\n    ", "\n");
  t.equal((await must("python3", ["-c", script, cluster.mnt, second])).trim(), "['before']");
});
