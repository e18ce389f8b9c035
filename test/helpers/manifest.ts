import { fork, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { open, readFile, unlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Bytes that belong to this name and size alone. */
export function contentOf(name: string, size: number): Buffer {
  const seed = createHash("sha256").update(name).digest();
  const data = Buffer.alloc(size, seed);
  data.write(`${name},${size}`);
  return data;
}

/**
 * What was promised to whoever wrote files: each name with the checksum of its bytes, from when `fsync` has returned. It
 * lives outside of what is tested.
 */
export class Manifest {
  readonly #sums = new Map<string, string>();
  #next = 0;

  get size(): number {
    return this.#sums.size;
  }

  /** Makes a file in that folder, fsyncs it, and only then takes note of it; returns its name. Rejects as they do. */
  async write(folder: string, size: number): Promise<string> {
    // Several processes write into one folder.
    const name = `f${process.pid}-${this.#next++}`;
    const data = contentOf(name, size);
    const file = await open(join(folder, name), "wx");
    try {
      await file.write(data);
      await file.sync();
    } finally {
      await file.close();
    }
    this.#sums.set(name, sumOf(data));
    return name;
  }

  /** Removes the oldest files but `keep`. */
  async shrink(folder: string, keep: number): Promise<void> {
    for (const name of [...this.#sums.keys()].slice(0, Math.max(0, this.size - keep))) {
      this.#sums.delete(name);
      await unlink(join(folder, name));
    }
  }

  /** Reads one of the files, any of them by its turn; what is wrong with it, or undefined. */
  async check(folder: string, turn: number): Promise<string | undefined> {
    const names = [...this.#sums.keys()];
    const name = names[turn % Math.max(1, names.length)];
    return name === undefined ? undefined : this.#problemOf(folder, name);
  }

  /** Reads all of them; what is wrong. */
  async checkAll(folder: string): Promise<string[]> {
    const problems: string[] = [];
    for (const name of this.#sums.keys()) {
      const problem = await this.#problemOf(folder, name);
      if (problem !== undefined) problems.push(problem);
    }
    return problems;
  }

  async #problemOf(folder: string, name: string): Promise<string | undefined> {
    const sum = this.#sums.get(name);
    try {
      const found = sumOf(await readFile(join(folder, name)));
      // It may have been removed meanwhile.
      return found === sum || this.#sums.get(name) === undefined ? undefined : `${name}: other bytes`;
    } catch (error) {
      return this.#sums.get(name) === undefined ? undefined : `${name}: ${String(error)}`;
    }
  }
}

function sumOf(data: Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}

export interface Orders {
  /** Where files are written, and where they are read: two mounts of one cluster, or twice the same. */
  readonly write: string;
  readonly read: string;
  /** Sizes of the files, in turn. */
  readonly sizes: readonly number[];
  /** The newest so many files stay. */
  readonly keep: number;
  /** What may be refused with EIO: such a file is not promised, and is read again at the end. Default: nothing. */
  readonly mayFail?: boolean;
}

export interface Found {
  /** Files that were promised at the end. */
  readonly files: number;
  /** Files that were written, in all. */
  readonly written: number;
  /** So many of them were refused. */
  readonly refused: number;
  readonly problems: readonly string[];
}

/**
 * A process that writes and reads files by a manifest until it is told to stop. Not in the test's own: whoever starts a
 * daemon must have no file of a mount open, or its child would have to close that first, which may wait for the daemon.
 */
export class Diligent {
  readonly #child: ChildProcess;
  /** Rejects when something goes wrong before it is told to stop. */
  readonly failed: Promise<never>;
  readonly #found: Promise<Found>;

  constructor(t: { teardown(fn: () => void): void }, orders: Orders) {
    const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(orders)]);
    this.#child = child;
    t.teardown(() => void child.kill("SIGKILL"));
    this.#found = new Promise((resolve) => {
      child.on("message", (said: Found | "turn") => {
        if (said !== "turn") resolve(said);
      });
    });
    this.failed = this.#found.then(({ problems }) => {
      if (problems.length > 0) throw new Error(problems.join("; "));
      return new Promise<never>(() => {});
    });
    this.failed.catch(() => {});
  }

  /** Resolves when it has tried to write so many further files, and to read as many. */
  async turns(count: number): Promise<void> {
    for (let left = count; left > 0; left--) await once(this.#child, "message");
  }

  /** Ends it, after it has read everything once more. */
  stop(): Promise<Found> {
    if (this.#child.connected) this.#child.send("stop");
    return this.#found;
  }
}

async function obey({ write, read, sizes, keep, mayFail = false }: Orders): Promise<Found> {
  const manifest = new Manifest();
  let isOver = false;
  process.on("message", () => (isOver = true));
  const problems: string[] = [];
  const note = (problem: string): boolean => {
    const isRefused = mayFail && problem.includes("EIO");
    if (!isRefused) problems.push(problem);
    return isRefused;
  };
  let [written, refused] = [0, 0];
  for (; !isOver && problems.length === 0; written++) {
    try {
      await manifest.write(write, sizes[written % sizes.length] ?? 0);
      const problem = await manifest.check(read, written * 7);
      if (problem !== undefined) note(problem);
      await manifest.shrink(write, keep);
    } catch (error) {
      if (note(`writing: ${String(error)}`)) refused++;
    }
    process.send?.("turn");
  }
  problems.push(...(await manifest.checkAll(read)));
  return { files: manifest.size, written, refused, problems };
}

const [, script, orders] = process.argv;
if (script === fileURLToPath(import.meta.url) && orders !== undefined) {
  const found = await obey(JSON.parse(orders) as Orders);
  process.send?.(found, () => process.disconnect());
}
