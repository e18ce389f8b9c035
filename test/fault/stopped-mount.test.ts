import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "tap";
import { serverOf, TestCluster } from "../helpers/cluster.js";
import { sh } from "../helpers/run.js";
import { deadlineOptions } from "../helpers/short-deadlines.js";
import { until } from "../helpers/until.js";

/** Others wait no longer than this for the mount that stands still. */
const LEASES = deadlineOptions({ leaseMs: 3_000, leaseMarginMs: 500, renewMs: 500 });

/** Looks at everything in a folder, each time that it is told to. */
const LOOK = `
import os, sys
os.chdir(sys.argv[1])
held = os.open("text", os.O_RDONLY)
def content(name):
    with open(name) as file: return file.read()
for _ in sys.stdin:
    print(oct(os.stat("mode").st_mode & 0o777), os.path.exists("gone"), os.path.exists("new"), os.stat("longer").st_size,
          content("text"), content("replaced"), *sorted(os.listdir(".")), os.pread(held, 10, 0).decode(), flush=True)`;

const BEFORE = "0o644 True False 3 old first gone longer mode replaced text old";
const AFTER = "0o600 False True 6 new second longer mode new replaced text new";

test("a mount that stood still for longer than its lease answers nothing as it was before (D32)", async (t) => {
  const cluster = await TestCluster.start(t, LEASES);
  const second = await cluster.mountAgain("second", LEASES);
  const folder = join(cluster.mnt, "d");
  await mkdir(folder);
  await sh("touch gone mode; chmod 644 mode; echo -n 123 > longer; echo -n old > text; echo -n first > replaced", {
    cwd: folder,
  });
  const child = spawn("python3", ["-c", LOOK, folder], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface(child.stdout);
  const look = async (): Promise<string> => {
    const line = once(lines, "line");
    child.stdin.write("\n");
    return String((await line)[0]);
  };
  t.equal(await look(), BEFORE);
  t.equal(await look(), BEFORE);

  const pid = await serverOf((await cluster.member("mount")).pid);
  process.kill(pid, "SIGSTOP");
  await sh(
    "rm gone; chmod 600 mode; touch new; echo -n 456 >> longer; echo -n new > text; echo -n second > t; mv t replaced",
    { cwd: join(second, "d") },
  );
  let isAnswered = false;
  const looked = look().finally(() => {
    isAnswered = true;
  });
  const isAsking = async () => /fuse|request_wait/.test(await readFile(`/proc/${child.pid}/wchan`, "utf8"));
  await until(async () => isAnswered || (await isAsking()));
  t.equal(isAnswered, false, "the kernel has to ask");
  process.kill(pid, "SIGCONT");
  t.equal(await looked, AFTER);
  t.equal(await look(), AFTER);
  child.stdin.end();
  await once(child, "exit");
});
