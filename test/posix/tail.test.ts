import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { run, type Outcome } from "../helpers/run.js";

const PROGRAM = join(packageRoot, "test/posix/tail.py");
/** Of all these tests together; by hand more. */
const SECONDS = Number(process.env.POSIX_SECONDS ?? "30");

/** Waits until the work is over, and does something again and again meanwhile. */
async function meanwhile(work: Promise<Outcome>, again: () => Promise<void>): Promise<Outcome> {
  let isOver = false;
  const over = work.finally(() => {
    isOver = true;
  });
  while (!isOver) await again();
  return over;
}

test("who follows a growing file, or opens one that is replaced, reads what was written (D1, D2, D3)", async (t) => {
  const cluster = await TestCluster.start(
    t,
    ["heartbeatMs=500", "nodeDownMs=3000"].flatMap((change) => ["--deadline", change]),
  );
  const second = await cluster.mountAgain("second");
  await mkdir(join(cluster.mnt, "tail"));
  const [here, there] = [join(cluster.mnt, "tail"), join(second, "tail")];
  const tail = (...args: readonly string[]) => run("python3", [PROGRAM, ...args, "--seconds", `${SECONDS / 4}`]);
  const isFine = ({ code, stdout, stderr }: Outcome, what: string) => t.equal(code, 0, `${what}: ${stdout}${stderr}`);

  isFine(await tail(here, "--readers", "2"), "on one mount");
  isFine(await tail(here, there, "--readers", "3"), "on two mounts");

  const killing = meanwhile(tail(here, there), async () => {
    await cluster.kill("store1");
    await cluster.up();
  });
  isFine(await killing, "while a storage daemon is killed and started again");

  const isUp = async (name: string) => {
    const { stdout } = await bigfsd(["node", "ls", "--data", cluster.data, "--json"]);
    return (JSON.parse(stdout) as { name: string; state: string }[]).some((n) => n.name === name && n.state === "UP");
  };
  const stopped = await cluster.member("store2");
  const stopping = meanwhile(tail(here, there), async () => {
    process.kill(stopped.pid, "SIGSTOP");
    while (await isUp("store2"));
    process.kill(stopped.pid, "SIGCONT");
    while (!(await isUp("store2")));
  });
  isFine(await stopping, "while a storage daemon stands still");
});
