import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type Test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { run } from "../helpers/run.js";
import { tiny } from "../helpers/tiny-caches.js";

const PROGRAM = join(packageRoot, "test/posix/differential.py");
const SECONDS = process.env.POSIX_SECONDS ?? "60";
/** Steps of which each once did otherwise on a mount than on a local folder. */
const SEEDS = [
  // fallocate by somebody else left set-user-id; writing left set-group-id to who is not in the group.
  [2, 600],
  // An access control list was shown with the mask before a chmod.
  [4, 1400],
] as const;

/** Does the same in two folders, of which the second is on a mount; `rest` are options of the program. */
type Differ = (name: string, rest: readonly string[]) => Promise<void>;

function differing(t: Test, cluster: TestCluster): Differ {
  const local = join(cluster.dir, "local");
  return async (name, rest) => {
    const sides = [join(local, name), join(cluster.mnt, name)];
    for (const side of sides) await mkdir(side, { recursive: true });
    const { code, stdout, stderr } = await run("python3", [PROGRAM, ...sides, ...rest]);
    t.equal(code, 0, `${name}: ${stdout.split("\n").at(-2) ?? ""}\n${code === 0 ? "" : stdout + stderr}`);
  };
}

/** With every path to it open to the users of the operations. */
async function clusterFor(t: Test): Promise<TestCluster> {
  const cluster = await TestCluster.start(t, ["--allow-other"]);
  await run("chmod", ["755", cluster.dir]);
  return cluster;
}

test("random operations of several users have on a mount the results that they have on a local folder", async (t) => {
  const cluster = await clusterFor(t);
  const differ = differing(t, cluster);
  for (const [seed, steps] of SEEDS) await differ(`seed-${seed}`, [`--seed=${seed}`, `--steps=${steps}`]);
  await differ("fresh", [`--seconds=${SECONDS}`]);
  await cluster.down();
  await cluster.up();
  for (const name of [...SEEDS.map(([seed]) => `seed-${seed}`), "fresh"]) await differ(name, ["--compare"]);
  t.match(await readFile("/proc/mounts", "utf8"), cluster.mnt);
});

test("they have the same results when mount and metadata daemon forget nearly everything at once (D25)", async (t) => {
  const cluster = await clusterFor(t);
  await cluster.down();
  await cluster.up(tiny());
  const differ = differing(t, cluster);
  const [[seed, steps]] = SEEDS;
  await differ("seed", [`--seed=${seed}`, `--steps=${steps}`]);
  await differ("fresh", [`--seconds=${Number(SECONDS) / 6}`]);
  await cluster.down();
  await cluster.up();
  for (const name of ["seed", "fresh"]) await differ(name, ["--compare"]);
});
