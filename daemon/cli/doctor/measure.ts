import { open, readFile, realpath, rm, stat, statfs, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock } from "../../common/clock.js";
import { percentiles, type DiskFacts, type SyncTimes } from "./disk.js";

const BLOCK = Buffer.alloc(4096, 1);
/** Enough for a median; the slowest disks end by time. */
const ROUNDS = 100;
const MOST_MS = 5_000;

/** Names of filesystems by the magic numbers of statfs(2). */
const FILESYSTEMS: Readonly<Record<number, string>> = {
  0x01021994: "tmpfs",
  0x858458f6: "ramfs",
  0x6969: "nfs",
  0xff534d42: "cifs",
  0x65735546: "fuse",
};

/** The folders of each disk; one that is not there is alone. */
export async function byDisk(folders: readonly string[]): Promise<[string, ...string[]][]> {
  const groups = new Map<number | string, [string, ...string[]]>();
  for (const folder of new Set(folders)) {
    const disk = await stat(folder).then(
      ({ dev }) => dev,
      () => folder,
    );
    const group = groups.get(disk);
    if (group === undefined) groups.set(disk, [folder]);
    else group.push(folder);
  }
  return [...groups.values()];
}

export interface Measuring {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Looks at the disk under a folder, and writes there for a moment. Rejects when there is no such folder. */
export async function measureDisk(folder: string, opts: Measuring): Promise<DiskFacts> {
  const [space, { dev }] = await Promise.all([statfs(folder), stat(folder)]);
  const facts = {
    folder,
    filesystem: FILESYSTEMS[space.type],
    rotates: await rotates(dev),
    freeBytes: space.bavail * space.bsize,
    totalBytes: space.blocks * space.bsize,
  };
  try {
    return { ...facts, sync: await measureSync(folder, opts), error: undefined };
  } catch (error) {
    opts.signal.throwIfAborted();
    const { code, message } = error as NodeJS.ErrnoException;
    return { ...facts, sync: undefined, error: { code, message } };
  }
}

/** What the device says of itself; a partition says it through its disk. */
async function rotates(dev: number): Promise<boolean | undefined> {
  const [major, minor] = [(dev >> 8) & 0xfff, (dev & 0xff) | ((dev >> 12) & 0xfff00)];
  try {
    const device = await realpath(`/sys/dev/block/${major}:${minor}`);
    const read = (folder: string) => readFile(join(folder, "queue/rotational"), "latin1");
    return (await read(device).catch(() => read(dirname(device)))).trim() === "1";
  } catch {
    return undefined;
  }
}

async function measureSync(folder: string, opts: Measuring): Promise<SyncTimes> {
  // A storage daemon does not mind files of this name, should this process be killed.
  const path = join(folder, `lock.doctor-${process.pid}`);
  const file = await open(path, "wx", 0o600);
  try {
    const write = await times(opts, () => append(file));
    const sync = await times(opts, () => append(file).then(() => file.sync()));
    return { write: percentiles(write), sync: percentiles(sync) };
  } finally {
    await file.close();
    await rm(path, { force: true });
  }
}

async function append(file: FileHandle): Promise<void> {
  await file.write(BLOCK);
}

async function times({ clock, signal }: Measuring, work: () => Promise<void>): Promise<number[]> {
  const started = clock.monotonicMs();
  const found: number[] = [];
  for (let from = started; found.length < ROUNDS && from - started < MOST_MS; from = clock.monotonicMs()) {
    signal.throwIfAborted();
    await work();
    found.push(clock.monotonicMs() - from);
  }
  return found;
}
