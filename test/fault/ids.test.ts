import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { must } from "../helpers/run.js";
import { deadlineOptions } from "../helpers/short-deadlines.js";

/** Files that are made; each is filled with its own number. */
const FILES = 3_000;
const KILLS = 3;

/** Makes the files, and says so, a line for each. A file: its number, over and over. */
const WRITER = `
import os, sys
folder, count = sys.argv[1], int(sys.argv[2])
for i in range(count):
    size = 20000 if i % 10 == 0 else 40 + i % 3000
    text = (b"%d," % i)
    fd = os.open("%s/%d" % (folder, i), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.write(fd, (text * (size // len(text) + 1))[:size])
    os.close(fd)
    print(flush=True)
`;

const READER = `
import sys
folder, count = sys.argv[1], int(sys.argv[2])
bad = []
for i in range(count):
    size = 20000 if i % 10 == 0 else 40 + i % 3000
    text = (b"%d," % i)
    with open("%s/%d" % (folder, i), "rb") as file:
        if file.read() != (text * (size // len(text) + 1))[:size]: bad.append(i)
print(bad)
`;

test("3,000 files, each filled with its number, are right although the metadata daemon is killed again and again (D4)", async (t) => {
  const cluster = await TestCluster.start(
    t,
    deadlineOptions({ leaseMs: 5_000, renewMs: 1_000, deleteDelayMs: 10_000 }),
  );
  const args = ["-c", WRITER, cluster.mnt, `${FILES}`];
  const writer = spawn("python3", args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(writer, "exit");
  let done = 0;
  writer.stdout.on("data", (lines: Buffer) => (done += lines.length));
  for (let kill = 1; kill <= KILLS; kill++) {
    const isDue = () => done >= (FILES / (KILLS + 1)) * kill || writer.exitCode !== null;
    while (!isDue()) await Promise.race([once(writer.stdout, "data"), ended]);
    await cluster.kill("meta");
    await cluster.up();
  }
  t.same(await ended, [0, null]);
  const second = await cluster.mountAgain("second", ["--no-short-circuit"]);
  t.equal(await must("python3", ["-c", READER, second, `${FILES}`]), "[]\n");
});
