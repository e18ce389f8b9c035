import { createHash } from "node:crypto";
import { open, readFile, unlink } from "node:fs/promises";
import { join } from "node:path";

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
    const name = `f${this.#next++}`;
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
