import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import type { StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { Chance } from "../helpers/chance.js";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { run, sh } from "../helpers/run.js";
import { shortDeadlines } from "../helpers/short-deadlines.js";

/** So many files are copied; more of them by hand. */
const FILES = Number(process.env["COPY_FILES"] ?? 200);
const FOLDERS = 10;
const KILLS = 3;

/** Everything below, with the names of folders. */
async function count(dir: string): Promise<number> {
  return (await readdir(dir, { recursive: true }).catch(() => [])).length;
}

test("put, get and rm that are killed again and again leave no half file and no chunk", async (t) => {
  const cluster = await TestCluster.start(t, shortDeadlines({ leaseMs: 3_000, deleteDelayMs: 6_000 }));
  const chance = new Chance(Number(process.env["SEED"] ?? 1));
  const local = join(cluster.dir, "local");
  for (let i = 0; i < FOLDERS; i++) await mkdir(join(local, `d${i}`), { recursive: true });
  for (let i = 0; i < FILES; i++) {
    const size = i % 50 === 0 ? 3_000_000 : chance.below(9_000);
    await writeFile(join(local, `d${i % FOLDERS}`, `f${i}`), Buffer.alloc(size, `${i},`));
  }
  const all = await count(local);
  const bin = join(packageRoot, "dist/daemon/cli/bin.js");

  /** Kills the command when so many names are done, several times, and then lets it come to its end. */
  const persist = async (command: readonly string[], into: string, done: () => Promise<number>): Promise<void> => {
    for (let i = 0; i < KILLS; i++) {
      const child = spawn(process.execPath, [bin, ...command, "--data", cluster.data], { stdio: "ignore" });
      const ended = once(child, "exit");
      const enough = (await done()) + 1 + chance.below(Math.ceil((2 * all) / KILLS));
      while (child.exitCode === null && (await done()) < enough) await new Promise((resolve) => setImmediate(resolve));
      child.kill("SIGKILL");
      await ended;
      const seen = await run("diff", ["-rq", local, into]);
      t.notMatch(seen.stdout, / differ$/m, "what has its name is whole");
    }
    const last = await bigfsd([...command, "--data", cluster.data]);
    t.equal(last.code, 0, last.stderr);
  };

  const there = join(cluster.mnt, "there");
  await persist(["put", "-rpu", `${local}/`, "/there"], there, () => count(there));
  t.equal((await run("diff", ["-r", local, there])).code, 0);
  t.equal(await count(there), all, "and nothing else");

  const back = join(cluster.dir, "back");
  await persist(["get", "-rpu", "/there/", back], back, () => count(back));
  t.equal((await run("diff", ["-r", local, back])).code, 0);
  t.equal(await count(back), all, "and nothing else");

  const left = all;
  await persist(["rm", "-rf", "/there"], there, async () => left - (await count(there)));
  t.same(await readdir(cluster.mnt), []);

  const status = async () =>
    JSON.parse((await bigfsd(["status", "--json", "--data", cluster.data])).stdout) as StatusReply;
  for (let now = await status(); now.chunks > 0; now = await status());
  t.match(await status(), { inodes: 1, bytes: 0, garbage: 0 });
  const files = await sh(`find ${cluster.data}/store*/chunks -type f -name '*.chunk' | wc -l`);
  t.equal(Number(files), 0, "every chunk file is gone");
});
