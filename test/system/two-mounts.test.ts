import { appendFile, mkdir, readFile, readdir, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { DRIVERS } from "../../mount/driver.js";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { must } from "../helpers/run.js";

/** How many files each mount makes. */
const FILES = { own: 5000, "fuse-native": 1000 } as const;
const FOLDERS = { own: "40", "fuse-native": "10" } as const;

for (const driver of DRIVERS) {
  test(`what one mount closed, the other (by ${driver}) reads, in every way of changing a file`, async (t) => {
    const cluster = await TestCluster.start(t);
    const a = cluster.mnt;
    const b = await cluster.mountAgain("second", ["--driver", driver]);
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
  });

  test(`two mounts create, stat and unlink files in one folder at the same time and nobody is fenced (D31; ${driver})`, async (t) => {
    const cluster = await TestCluster.start(t, ["--driver", driver]);
    const a = join(cluster.mnt, "shared");
    await mkdir(a);
    const files = FILES[driver];
    const b = join(await cluster.mountAgain("second", ["--driver", driver]), "shared");
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
    const status = await bigfsd(["status", "--data", cluster.data, "--json"]);
    const sessions = (JSON.parse(status.stdout) as { sessions: { connected: boolean }[] }).sessions;
    t.equal(sessions.filter((s) => s.connected).length, 2);
    for (const log of ["mount", "second"]) {
      const text = await readFile(join(cluster.data, "log", `${log}.log`), "utf8");
      t.notMatch(text, /fenced/, `${log} kept its session`);
    }
    await cluster.staysSmall(t);
  });

  test(`a name that one mount removes is gone for the other when unlink returns, also in a folder that nobody else knew (${driver})`, async (t) => {
    const cluster = await TestCluster.start(t, ["--driver", driver]);
    const other = await cluster.mountAgain("second", ["--driver", driver]);
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
    t.equal((await must("python3", ["-c", script, cluster.mnt, other, FOLDERS[driver]])).trim(), "[]");
  });
}
