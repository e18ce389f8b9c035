import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { TestCluster, gone, serverOf } from "../helpers/cluster.js";
import { SIZE, verified, written } from "../helpers/fio.js";
import { needs } from "../helpers/run.js";

const PATIENT = ["--deadline", "steadyMs=1", "--deadline", "restartMs=1"];

test("what fio was told is durable is there although the mount process is killed meanwhile (D18)", async (t) => {
  await needs("fio");
  const cluster = await TestCluster.start(t, PATIENT);
  const { pid } = await cluster.member("mount");
  const verifying = verified(cluster.mnt);
  const deaths = [SIZE / 8, SIZE / 3, SIZE / 2];
  for (const bytes of deaths) {
    await written(cluster.mnt, bytes, verifying);
    const server = await serverOf(pid);
    process.kill(server, "SIGKILL");
    await gone(server);
  }
  t.equal(await verifying, deaths.length, "of each death one write has told");
  t.match(await readFile(join(cluster.data, "log", "mount.log"), "utf8"), /another one takes over/);
});
