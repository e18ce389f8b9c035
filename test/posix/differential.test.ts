import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { run } from "../helpers/run.js";

const PROGRAM = join(packageRoot, "test/posix/differential.py");
const SECONDS = process.env.POSIX_SECONDS ?? "60";
/** Steps of which each once did otherwise on a mount than on a local folder. */
const SEEDS: readonly (readonly [seed: number, steps: number])[] = [
  // fallocate by somebody else left set-user-id; writing left set-group-id to who is not in the group.
  [2, 600],
  // An access control list was shown with the mask before a chmod.
  [4, 1400],
];

test("random operations of several users have on a mount the results that they have on a local folder", async (t) => {
  const cluster = await TestCluster.start(t, ["--allow-other"]);
  const local = join(cluster.dir, "local");
  // The users of the operations must get there.
  await run("chmod", ["755", cluster.dir]);
  const differ = async (name: string, args: readonly string[]) => {
    const sides = [join(local, name), join(cluster.mnt, name)];
    for (const side of sides) await mkdir(side, { recursive: true });
    const { code, stdout, stderr } = await run("python3", [PROGRAM, ...sides, ...args]);
    t.equal(code, 0, `${name}: ${stdout.split("\n").at(-2) ?? ""}\n${code === 0 ? "" : stdout + stderr}`);
  };
  for (const [seed, steps] of SEEDS) await differ(`seed-${seed}`, [`--seed=${seed}`, `--steps=${steps}`]);
  await differ("fresh", [`--seconds=${SECONDS}`]);
  await cluster.down();
  await cluster.up();
  for (const name of [...SEEDS.map(([seed]) => `seed-${seed}`), "fresh"]) await differ(name, ["--compare"]);
  t.match(await readFile("/proc/mounts", "utf8"), cluster.mnt);
});
