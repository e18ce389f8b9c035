import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "tap";
import type { StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { Agent } from "../helpers/agent.js";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { deadlineOptions } from "../helpers/short-deadlines.js";

const SHORT = deadlineOptions({ leaseMs: 3_000, leaseMarginMs: 500, renewMs: 500 });
const OTHERS = ["second", "third", "fourth", "fifth"];
/** One more than there are players, so that somebody can always go on. */
const PLACES = 6;
const ROUNDS = 40;
const DIGITS = 20;

/**
 * Goes round over bytes of a file: locks the next, lets go of the last, and adds 1 to a number under the lock. Says each
 * addition; ends when it has made all, or when its mount is gone. It begins when all have the file open: from then on each
 * write is committed before it is answered.
 */
const PLAY = `
import fcntl, os, sys
path, places, rounds, digits = sys.argv[1], *map(int, sys.argv[2:])
fd = os.open(path, os.O_RDWR)
print("open", flush=True)
sys.stdin.readline()
fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)
for n in range(rounds):
    place = (n + 1) % places
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, place)
    number = int(os.pread(fd, digits, place * digits)) + 1
    os.pwrite(fd, b"%0*d" % (digits, number), place * digits)
    print(place, number, flush=True)
    fcntl.lockf(fd, fcntl.LOCK_UN, 1, n % places)
`;

async function five(t: Parameters<typeof TestCluster.start>[0]): Promise<[TestCluster, string[]]> {
  const cluster = await TestCluster.start(t, ["--storage", "2", ...SHORT]);
  const others: string[] = [];
  for (const name of OTHERS) others.push(await cluster.mountAgain(name, SHORT));
  return [cluster, others];
}

test("five mounts play ping-pong on locks of one file, one is killed, and no addition is lost or made twice (D21)", async (t) => {
  const [cluster, others] = await five(t);
  await writeFile(join(cluster.mnt, "ball"), "0".repeat(PLACES * DIGITS));
  const players = [cluster.mnt, ...others].map((mnt) => {
    const args = ["-c", PLAY, join(mnt, "ball"), ...[PLACES, ROUNDS, DIGITS].map(String)];
    const child = spawn("python3", args, { stdio: ["pipe", "pipe", "ignore"] });
    t.teardown(() => child.kill("SIGKILL"));
    const said: string[] = [];
    const lines = createInterface(child.stdout).on("line", (line) => said.push(line));
    return { child, said, lines, ended: once(child, "exit") };
  });
  for (const { said, lines } of players) if (said.length === 0) await once(lines, "line");
  for (const { child, said } of players) {
    said.length = 0;
    child.stdin.write("\n");
  }
  const [victim, ...survivors] = players;
  while ((victim?.said.length ?? 0) < ROUNDS / 4) await once(victim?.lines ?? process, "line");
  // Who plays has always one of the locks, or two.
  await cluster.kill("mount");
  t.same(await victim?.ended, [1, null]);
  for (const { ended, said } of survivors) {
    t.same(await ended, [0, null]);
    t.equal(said.length, ROUNDS);
  }
  const told = players.flatMap(({ said }) => said);
  t.equal(new Set(told).size, told.length, "nobody has made the addition of another");
  const ball = await readFile(join(others[0] ?? "", "ball"), "latin1");
  const numbers = Array.from({ length: PLACES }, (_, n) => Number(ball.slice(n * DIGITS, (n + 1) * DIGITS)));
  const sum = numbers.reduce((all, number) => all + number, 0);
  // The victim may have made one that it could not tell any more.
  t.ok(sum === told.length || sum === told.length + 1, `${sum} additions, ${told.length} were told`);
});

/** Waits for the lock; nobody else may be inside. Says what it found and which turn it was. */
const ENTER = (lock: string) =>
  [
    `fcntl.${lock}(fd, fcntl.LOCK_EX)`,
    'found = os.pread(fd, 4, 0); _ = os.pwrite(fd, b"1", 0)',
    "turn = int(found[1:]) + 1",
    'inside = os.pread(fd, 1, 0); _ = os.pwrite(fd, b"0%03d" % turn, 0)',
    `fcntl.${lock}(fd, fcntl.LOCK_UN)`,
    "[found[:1].decode(), inside.decode(), turn]",
  ] as const;

test("locks of a mount that was killed, or whose session was ended, go to one after the other (D21)", async (t) => {
  const [cluster, others] = await five(t);
  const sessions = async () =>
    (JSON.parse((await bigfsd(["status", "--json", "--data", cluster.data])).stdout) as StatusReply).sessions;
  const ends = {
    killed: async () => {
      await cluster.kill("mount");
      await cluster.up();
    },
    "session ended": async () => {
      const holder = (await sessions()).find(({ name }) => name.endsWith(`:${cluster.mnt}`));
      const { code, stderr } = await bigfsd(["session", "end", holder?.name ?? "none", "--data", cluster.data]);
      t.equal(code, 0, stderr);
    },
  };
  for (const lock of ["flock", "lockf"]) {
    for (const [how, end] of Object.entries(ends)) {
      const name = `${lock}-${how.replace(" ", "-")}`;
      await writeFile(join(cluster.mnt, name), "0000");
      const [holder, ...waiters] = [cluster.mnt, ...others].map((mnt) => ({ mnt, agent: new Agent(t) }));
      for (const { mnt, agent } of [...(holder === undefined ? [] : [holder]), ...waiters]) {
        t.same(await agent.ask(`fd = os.open("${join(mnt, name)}", os.O_RDWR)`), { value: null });
      }
      t.same(await holder?.agent.ask(`fcntl.${lock}(fd, fcntl.LOCK_EX)`), { value: null });
      const waiting = waiters.map(async ({ agent }) => {
        const said = await Promise.all(ENTER(lock).map((line) => agent.ask(line)));
        return said.at(-1);
      });
      await end();
      const entered = (await Promise.all(waiting)).map((said) =>
        said !== undefined && "value" in said ? said.value : said,
      );
      const expected = waiters.map((_, n) => ["0", "1", n + 1]);
      t.same(entered.sort(), expected, `${name}: each was alone inside`);
      if (how === "session ended") t.same(await holder?.agent.ask('os.write(fd, b"x")'), { errno: "EIO" });
    }
  }
});
