import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { Test } from "tap";
import { Layout } from "../../daemon/common/chunks/layout.js";
import { Agent } from "./agent.js";
import { TestCluster, bigfsd } from "./cluster.js";
import { Manifest, contentOf } from "./manifest.js";
import { mortally } from "./mortal.js";
import { packageRoot } from "./package-root.js";
import { run, sh } from "./run.js";
import { until } from "./until.js";
import { Versions } from "./versions.js";

const FAST = [
  "cleanMs=200",
  "leaseMs=2000",
  "renewMs=500",
  "leaseMarginMs=500",
  "deleteDelayMs=4000",
  "orphanGraceMs=1000",
  "heartbeatMs=500",
  "confirmMs=2000",
  "dirtyMs=1000",
].flatMap((change) => ["--deadline", change]);

/** What is written and what must be found of it. */
export interface Work {
  /** Of the mount that will die. */
  readonly folder: string;
  readonly manifest: Manifest;
  readonly versions: Versions;
  /** Part of the names of this mount's files. */
  readonly tag: string;
}

/** Kills a mount, which has no supervisor, at each of these steps of a work that is done until then. */
export async function killMounts(
  t: Test,
  dieAts: readonly string[],
  work: (parts: Work, turn: number) => Promise<void>,
): Promise<void> {
  const cluster = await TestCluster.start(t, FAST);
  const folder = join(cluster.dir, "mortal");
  await mkdir(folder);
  t.teardown(() => run("fusermount3", ["-uz", folder]));
  const [manifest, versions] = [new Manifest(), new Versions()];
  const program = new Agent(t);
  const does = async (line: string) => t.same(await program.ask(line), { value: null }, line);
  for (const [n, dieAt] of dieAts.entries()) {
    const { ended } = await mortalMount(t, cluster, folder, dieAt);
    // A lock, and a file without a name, which go with the mount.
    await does(`locked = os.open("${folder}/locked-${n}", os.O_RDWR | os.O_CREAT)`);
    await does("fcntl.lockf(locked, fcntl.LOCK_EX)");
    await does(`unnamed = os.open("${folder}/unnamed", os.O_RDWR | os.O_CREAT)`);
    await does(`_ = os.write(unnamed, b"x" * 100000); os.fsync(unnamed); os.unlink("${folder}/unnamed")`);
    const parts = { folder, manifest, versions, tag: `${n}` };
    try {
      for (let turn = 0; ; turn++) await work(parts, turn);
    } catch (error) {
      // Whoever asks a mount that has died hears of that; anything else must not be.
      if (!["ENOTCONN", "ECONNABORTED"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    }
    t.same(await ended, [null, "SIGKILL"], dieAt);
    await sh(`fusermount3 -uz ${folder}`);
  }
  for (const n of dieAts.keys()) {
    t.same(await program.ask(`locked = os.open("${cluster.mnt}/locked-${n}", os.O_RDWR)`), { value: null });
    t.same(await program.ask("fcntl.lockf(locked, fcntl.LOCK_EX)"), { value: null }, "its locks have gone");
    await does("os.close(locked)");
  }
  const found = [...(await manifest.checkAll(cluster.mnt)), ...(await versions.checkAll(cluster.mnt))];
  t.same(found, [], "what was fsynced is there, the rest old or new");
  t.ok(manifest.size + versions.size >= dieAts.length);
  const checked = await bigfsd(["fsck", "--data", cluster.data, "--json"]);
  t.match(JSON.parse(checked.stdout), { findings: [] });
  await nothingStays(t, cluster);
}

/** Mounts the cluster by a process that dies at that step; how it has ended. */
async function mortalMount(
  t: Test,
  cluster: TestCluster,
  folder: string,
  dieAt: string,
): Promise<{ readonly ended: Promise<unknown> }> {
  const bin = join(packageRoot, "dist/daemon/cli/bin.js");
  const args = [bin, "mount", folder, "--foreground", "--data", cluster.data, ...FAST];
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...mortally(dieAt), BIGFS_READY: "1" },
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  const ended = once(child, "exit");
  const [line] = (await once(child.stdio[3] as Readable, "data")) as [Buffer];
  if (line.includes('"error"')) throw new Error(`mount: ${line.toString()}`);
  return { ended };
}

/** Removes everything and waits until no inode and no chunk is left, in the metadata or on a disk. */
async function nothingStays(t: Test, cluster: TestCluster): Promise<void> {
  await sh(`rm -rf ${cluster.mnt}/*`);
  await cluster.until(({ chunks, inodes, sessions }) => chunks === 0 && inodes === 1 && sessions.length === 1);
  for (const { name } of (await cluster.file()).processes.filter(({ role }) => role === "store")) {
    const { chunks } = new Layout((await cluster.member(name)).data);
    await until(async () => !(await readdir(chunks, { recursive: true })).some((file) => file.endsWith(".chunk")));
  }
  t.pass("no session, inode or chunk stays");
}

/** The steps of the nth request of that kind: not sent, done and not answered, answered. */
export function around(op: string, nth: number): string[] {
  return [`before ask ${op}@${nth}`, `before answer ${op}@${nth}`, `after ask ${op}@${nth}`];
}

/** Replaces a file as editors do, durably. */
export async function replace({ folder, versions, tag }: Work, turn: number): Promise<void> {
  const name = `replaced-${tag}`;
  const next = contentOf(`${name}-${turn}`, 60_000);
  await versions.change(name, next, async () => {
    const file = await open(join(folder, `${name}.new`), "w");
    try {
      await file.write(next);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(join(folder, `${name}.new`), join(folder, name));
    await syncFolder(folder);
  });
}

/** Writes a file of two chunks and cuts it, durably; at its next turn another one. */
export async function cut({ folder, versions, tag }: Work, turn: number): Promise<void> {
  const name = `cut-${tag}-${turn}`;
  const whole = contentOf(name, 1_500_000);
  const file = await open(join(folder, name), "wx");
  try {
    // A file that was made and not fsynced has any part of what was written, or is not.
    await file.write(whole);
    await file.sync();
    await versions.change(name, whole, () => Promise.resolve());
    const shorter = whole.subarray(0, 1_200_000 - turn);
    await versions.change(name, shorter, async () => {
      await file.truncate(shorter.length);
      await file.sync();
    });
  } finally {
    await file.close();
  }
}

/** Closes a file before it fsyncs it, so that its chunks have to be fsynced afterwards. */
export async function syncLater({ folder, versions, tag }: Work, turn: number): Promise<void> {
  const name = `later-${tag}-${turn}`;
  const data = contentOf(name, 100_000);
  const path = join(folder, name);
  const made = await open(path, "wx");
  await made.write(data).finally(() => made.close());
  const file = await open(path, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  await versions.change(name, data, () => Promise.resolve());
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

const PIECE = 8 * 1024;
const PIECES = 80;

/** Appends a piece to a file, durably; from its last one on it only reads, until the slot is put together. */
export async function pieces({ folder, versions, tag }: Work, turn: number): Promise<void> {
  const name = `pieces-${tag}`;
  const next = contentOf(name, PIECE * PIECES).subarray(0, PIECE * (turn + 1));
  const file = await open(join(folder, name), turn === 0 ? "wx" : "r+");
  try {
    if (turn >= PIECES) await file.read({ buffer: Buffer.alloc(PIECE), position: 0 });
    else if (turn === 0) await file.write(next).then(() => file.sync());
    else {
      await versions.change(name, next, async () => {
        await file.write(next, PIECE * turn, PIECE, PIECE * turn);
        await file.sync();
      });
    }
  } finally {
    await file.close();
  }
}
