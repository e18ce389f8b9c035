import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "tap";
import { TestCluster, gone, serverOf } from "../helpers/cluster.js";
import { SIZE, verified, written } from "../helpers/fio.js";
import { needs, run } from "../helpers/run.js";

test("fio notices nothing of daemons that are restarted in order, one after the other (D18)", async (t) => {
  await needs("fio");
  const cluster = await TestCluster.start(t);
  let isOver = false;
  const rounds = async (): Promise<number> => {
    let refused = 0;
    do refused += await verified(cluster.mnt);
    while (!isOver);
    return refused;
  };
  const verifying = rounds();
  for (const name of ["store1", "meta", "store2", "store3"]) {
    await written(cluster.mnt, SIZE / 8, verifying);
    const { pid } = await cluster.member(name);
    process.kill(pid, "SIGTERM");
    await gone(pid);
    await cluster.up();
  }
  isOver = true;
  t.equal(await verifying, 0);
});

/** Appends numbered records and says the number of each that was taken, until one is refused. */
const WRITER = `
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
for n in range(10 ** 7):
    try:
        assert os.pwrite(fd, b"%015d\\n" % n * 64, n * 1024) == 1024
    except OSError as error:
        print("end", n, error.errno, flush=True)
        break
    if n % 500 == 0: print(n, flush=True)
sys.stdin.read()
`;

test("a mount that is ended in order under a writer has stored every write that it took (D18)", async (t) => {
  const cluster = await TestCluster.start(t);
  for (const name of ["first", "second"]) {
    const path = join(cluster.mnt, name);
    const writer = spawn("python3", ["-c", WRITER, path], { stdio: ["pipe", "pipe", "inherit"] });
    t.teardown(() => writer.kill("SIGKILL"));
    const lines: string[] = [];
    const said = createInterface(writer.stdout).on("line", (line) => lines.push(line));
    while (lines.length < 5) await once(said, "line");
    const { pid } = await cluster.member("mount");
    const server = await serverOf(pid);
    process.kill(pid, "SIGTERM");
    while (!lines.at(-1)?.startsWith("end")) await once(said, "line");
    const taken = Number(lines.at(-1)?.split(" ")[1]);
    writer.stdin.end();
    await once(writer, "exit");
    await gone(server);
    await gone(pid);
    t.equal((await run("mountpoint", ["-q", cluster.mnt])).code, 32);
    await cluster.up();
    const found = await readFile(path, "latin1");
    const expected = Array.from({ length: taken }, (_, n) => `${String(n).padStart(15, "0")}\n`.repeat(64)).join("");
    t.ok(found === expected, `${taken} writes were taken, ${found.length / 1024} found`);
  }
});
