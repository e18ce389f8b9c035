import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must } from "../helpers/run.js";

const PROGRAM = join(packageRoot, "test/posix/locks.py");

test("locks do on a mount, and between two, what they do on a local folder", async (t) => {
  const cluster = await TestCluster.start(t);
  const second = await cluster.mountAgain("second");
  const local = join(cluster.dir, "local");
  for (const folder of [local, join(cluster.mnt, "one"), join(cluster.mnt, "two")]) await mkdir(folder);
  const locks = (...folders: string[]) => must("python3", [PROGRAM, ...folders]);
  t.equal(await locks(join(cluster.mnt, "one")), await locks(local));
  t.equal(await locks(join(cluster.mnt, "two"), join(second, "two")), await locks(local, local));
});
