import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test, type Test } from "tap";
import { systemClock } from "../../daemon/common/clock.js";
import { dial } from "../../daemon/common/rpc/client.js";
import { SESSION } from "../../daemon/common/rpc/kinds.js";
import { KEY, RawClient } from "../helpers/meta-harness.js";
import { must, run } from "../helpers/run.js";
import { BIN } from "../integration/cli/place.js";

/** A disk of its own for a metadata daemon that is a process. */
class Disk {
  private constructor(
    readonly dir: string,
    readonly mnt: string,
  ) {}

  static async make(t: Test): Promise<Disk> {
    const dir = await mkdtemp(join(tmpdir(), "bigfs-disk-"));
    const disk = new Disk(dir, join(dir, "mnt"));
    t.teardown(async () => {
      await run("umount", ["-l", disk.mnt]);
      await rm(dir, { recursive: true, force: true });
    });
    await must("mkdir", [disk.mnt]);
    await must("truncate", ["-s", "160M", disk.image]);
    await must("mkfs.ext4", ["-q", "-F", "-m", "0", disk.image]);
    await disk.mount();
    await writeFile(disk.key, `${KEY.toString("hex")}\n`, { mode: 0o600 });
    return disk;
  }

  get image(): string {
    return join(this.dir, "image");
  }

  get key(): string {
    return join(this.dir, "key");
  }

  async mount(): Promise<void> {
    await must("mount", ["-o", "loop", this.image, this.mnt]);
  }

  /** Nothing more fits on it. */
  async fill(): Promise<void> {
    const [free = "0"] = /\d+/.exec(await must("df", ["-BM", "--output=avail", this.mnt])) ?? [];
    await must("fallocate", ["-l", `${Number(free) - 2}M`, join(this.mnt, "filler")]);
    // Ends when there is no room.
    await run("dd", ["if=/dev/zero", `of=${this.mnt}/filler`, "bs=4k", "oflag=append", "conv=notrunc"]);
  }

  /** As the kernel does when it meets an error of the disk: everything fails that would write. */
  async turnReadOnly(): Promise<void> {
    await must("mount", ["-o", "remount,abort", this.mnt]);
  }

  /** A metadata daemon on it, and where it listens. */
  async daemon(t: Test): Promise<{ readonly process: ChildProcess; readonly address: string }> {
    const folder = join(this.mnt, "meta");
    const args = [BIN, "meta", "--data", folder, "--listen", "127.0.0.1:0", "--key", this.key];
    const daemon = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "pipe"] });
    t.teardown(() => daemon.kill("SIGKILL"));
    for await (const line of createInterface(daemon.stderr)) {
      const { msg, listen } = JSON.parse(line) as { msg?: string; listen?: string };
      if (msg !== "started" || listen === undefined) continue;
      daemon.stderr.resume();
      return { process: daemon, address: listen };
    }
    throw new Error("the daemon did not start");
  }
}

/** `session`: goes on with that one, so that nobody waits for it. */
async function clientOf(address: string, session = 0): Promise<RawClient> {
  const client = new RawClient(
    await dial(SESSION, address, { key: KEY, role: "mount", connectMs: 5000, clock: systemClock }),
  );
  await client.attach({ session, replayDone: true });
  return client;
}

const FAILURES: Record<string, (disk: Disk) => Promise<void>> = {
  "is full": (disk) => disk.fill(),
  "has become read-only": (disk) => disk.turnReadOnly(),
};

for (const [what, breakDisk] of Object.entries(FAILURES)) {
  test(`D15: a metadata daemon whose disk ${what} stops with an error, and all that it had acknowledged is there`, async (t) => {
    const disk = await Disk.make(t);
    const { process: daemon, address } = await disk.daemon(t);
    const ended = once(daemon, "exit");
    const client = await clientOf(address);
    const safe: string[] = [];
    const create = async () => {
      const file = `file${safe.length}-${"x".repeat(200)}`;
      await client.create(1, file);
      await client.untilDurable();
      safe.push(file);
    };
    for (let n = 0; n < 20; n++) await create();
    await breakDisk(disk);
    await t.rejects(async () => {
      for (;;) await create();
    });
    const [code] = (await ended) as [number | null];
    t.equal(code, 1);

    await must("umount", [disk.mnt]);
    await disk.mount();
    await rm(join(disk.mnt, "filler"), { force: true });
    const second = await disk.daemon(t);
    const later = await clientOf(second.address, client.session);
    const names: string[] = [];
    for (let after = 0; ;) {
      const { entries, end } = await later.call("readdir", { dir: 1, after, limit: 0, withAttrs: false });
      names.push(...entries.map(({ name }) => name.toString()));
      after = entries.at(-1)?.cookie ?? after;
      if (end) break;
    }
    t.same(
      safe.filter((file) => !names.includes(file)),
      [],
    );
    t.ok(names.length <= safe.length + 1, "and nothing but what was asked for");
    later.close();
    second.process.kill("SIGTERM");
    await once(second.process, "exit");
  });
}
