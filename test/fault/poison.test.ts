import { once } from "node:events";
import { join } from "node:path";
import { writeFile } from "node:fs/promises";
import { spawn } from "node:child_process";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { Diligent } from "../helpers/manifest.js";
import { poisoned } from "../helpers/mortal.js";
import { sh } from "../helpers/run.js";

/** Attributes of many files at once, each with a value of its own. */
const XATTRS = `
import os, sys, threading
folder = sys.argv[1]
def work(n):
    for i in range(60):
        path = "%s/x%d-%d" % (folder, n, i)
        open(path, "w").close()
        os.setxattr(path, "user.value", (b"%d-%d," % (n, i)) * 40)
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
`;

const CHECK = `
import os, sys
folder = sys.argv[1]
bad = [(n, i) for n in range(4) for i in range(60)
       if os.getxattr("%s/x%d-%d" % (folder, n, i), "user.value") != (b"%d-%d," % (n, i)) * 40]
print(bad)
`;

test("buffers that are filled with other bytes as soon as they are free are nobody's content (D5, D6)", async (t) => {
  const cluster = await TestCluster.start(t);
  await cluster.down();
  await cluster.up(poisoned());
  const second = await cluster.mountAgain("second", ["--no-short-circuit"]);
  const sizes = [2_000, 70_000, 300_000, 1_100_000, 2_500_000];
  // Several of them at once, so that one's buffer is soon another one's.
  const workers = [0, 1, 2].map(
    (n) =>
      new Diligent(t, { write: cluster.mnt, read: second, sizes: [...sizes.slice(n), ...sizes.slice(0, n)], keep: 12 }),
  );
  const script = join(cluster.dir, "xattrs.py");
  await writeFile(script, XATTRS);
  const ended = await once(spawn("python3", [script, cluster.mnt], { stdio: "inherit" }), "exit");
  t.same(ended, [0, null]);
  await writeFile(script, CHECK);
  t.equal(await sh(`python3 ${script} ${second}`), "[]\n");
  for (const worker of workers) {
    const { problems, written } = await worker.stop();
    t.same(problems, []);
    t.ok(written >= 5, `${written} files`);
  }
});
