import { open, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/** The calls that the recipe needs; a daemon that takes its disk as a parameter passes that. */
export interface DurableDisk {
  /** Makes the file hold these bytes. */
  write(path: string, parts: readonly Uint8Array[]): Promise<void>;
  /** Fsyncs a file or a folder. */
  sync(path: string): Promise<void>;
  /** Renames within one disk; what has the new name is replaced. */
  rename(from: string, into: string): Promise<void>;
  /** Removes a file. */
  remove(path: string): Promise<void>;
}

/**
 * Replaces a file: at every moment, also after a power cut, its name shows the whole old or the whole new content, and
 * the new one from when this resolves. One writer at a time for each path; a crash may leave `PATH.tmp`, which the next
 * write replaces.
 */
export async function writeDurably(
  path: string,
  bytes: Uint8Array,
  opts: { disk?: DurableDisk; mode?: number } = {},
): Promise<void> {
  const disk = opts.disk ?? machineDisk(opts.mode ?? 0o644);
  const temp = `${path}.tmp`;
  try {
    await disk.write(temp, [bytes]);
    await disk.sync(temp);
    await disk.rename(temp, path);
  } catch (error) {
    await disk.remove(temp).catch(() => {});
    throw error;
  }
  await disk.sync(dirname(path));
}

/** Gives a file that was written beside it its name: it is there, whole, from when this resolves. */
export async function renameDurably(temp: string, path: string): Promise<void> {
  await syncPath(temp);
  await rename(temp, path);
  await syncPath(dirname(path));
}

function machineDisk(mode: number): DurableDisk {
  return {
    write: async (path, parts) => {
      await rm(path, { force: true });
      await writeFile(path, parts, { mode, flag: "wx" });
    },
    sync: syncPath,
    rename,
    remove: (path) => rm(path, { force: true }),
  };
}

/** Fsyncs a file or a folder. */
export async function syncPath(path: string | Buffer): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
