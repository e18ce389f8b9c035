import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { run } from "../helpers/run.js";

const PROGRAM = join(packageRoot, "test/posix/data.py");
const TOGETHER = join(packageRoot, "test/posix/together.py");
/** Of each test; by hand more. */
const SECONDS = process.env.POSIX_SECONDS ?? "30";
/** A mount that has hardly any memory, so that it stores and asks all the time. */
const SMALL = ["--cache", "1MiB", "--dirty", "1MiB", "--no-short-circuit"];
/** Seeds that once found something wrong between three mounts: a name that was renamed was kept too long. */
const SEEDS = ["1000", "1057"];

test("random changes of the data of files are read as they were written, with cold and warm caches", async (t) => {
  const cluster = await TestCluster.start(t);
  const small = await cluster.mountAgain("small", SMALL);
  for (const mnt of [cluster.mnt, small]) {
    const folder = join(mnt, "data");
    await mkdir(folder, { recursive: true });
    const { code, stdout, stderr } = await run("python3", [PROGRAM, folder, `--seconds=${Number(SECONDS) / 2}`]);
    t.equal(code, 0, `${mnt}: ${stdout}${stderr}`);
  }
});

test("random changes under locks through several mounts are read everywhere as they were written", async (t) => {
  const cluster = await TestCluster.start(t);
  const mounts = [cluster.mnt, await cluster.mountAgain("second"), await cluster.mountAgain("small", SMALL)];
  await mkdir(join(cluster.mnt, "data"));
  const folders = mounts.map((mnt) => join(mnt, "data"));
  const fuzz = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await run("python3", [PROGRAM, ...folders, "--lock-files", ...args]);
    t.equal(code, 0, `${args.join(" ")}: ${stdout}${stderr}`);
  };
  for (const seed of SEEDS) await fuzz("--seed", seed, "--steps", "400");
  for (const lock of ["fcntl", "flock"]) await fuzz("--lock", lock, `--seconds=${Number(SECONDS) / 2}`);
});

test("no change under a lock is lost between several mounts, whatever is changed and how it is read", async (t) => {
  const cluster = await TestCluster.start(t);
  const mounts = [cluster.mnt, await cluster.mountAgain("second"), await cluster.mountAgain("small", SMALL)];
  for (const lock of ["fcntl", "flock"]) {
    const args = [...mounts, "--processes", "4", "--rounds", "20", "--lock", lock];
    const { code, stdout, stderr } = await run("python3", [TOGETHER, ...args]);
    t.equal(code, 0, `${lock}: ${stdout}${stderr}`);
  }
});
