import { createHash } from "node:crypto";
import { open, readFile, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { decodeFile } from "../../daemon/common/chunks/chunk-format.js";
import { Layout, idOfName } from "../../daemon/common/chunks/layout.js";
import type { TestCluster } from "./cluster.js";

/** Chunks of a cluster as they were written, and whether those on disk still are. */
export class ChunkCopies {
  readonly #sums = new Map<string, string>();

  constructor(private readonly cluster: TestCluster) {}

  async paths(store: string): Promise<string[]> {
    const { chunks } = new Layout((await this.cluster.member(store)).data);
    const names = await readdir(chunks, { recursive: true });
    return names.filter((name) => name.endsWith(".chunk")).map((name) => join(chunks, name));
  }

  /** Files with bytes that nobody wrote. */
  async wrong(): Promise<string[]> {
    return (await this.all()).filter(({ isRight }) => !isRight).map(({ path }) => path);
  }

  /** Every copy that stands on a disk. */
  async all(): Promise<
    { readonly chunk: string; readonly store: string; readonly path: string; readonly isRight: boolean }[]
  > {
    const found = [];
    const stores = (await this.cluster.file()).processes.filter(({ role }) => role === "store");
    for (const { name: store } of stores) {
      for (const path of await this.paths(store)) {
        const file = await readFile(path).catch(() => undefined);
        const chunk = basename(path);
        if (file !== undefined) found.push({ chunk, store, path, isRight: this.#isRight(chunk, file) });
      }
    }
    return found;
  }

  /** Flips a bit in each of these copies, by default in all that the store has. */
  async flip(store: string, paths?: readonly string[]): Promise<readonly string[]> {
    paths ??= await this.paths(store);
    for (const path of paths) {
      const file = await open(path, "r+");
      const { size } = await file.stat();
      const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 100);
      await file.write(Buffer.from([(buffer[0] ?? 0) ^ 4]), 0, 1, size - 100);
      await file.close();
    }
    return paths;
  }

  /** A chunk that is seen for the first time is right when its checksums are. */
  #isRight(name: string, file: Buffer): boolean {
    try {
      const sum = createHash("sha256")
        .update(decodeFile(idOfName(name) ?? 0, file).data)
        .digest("hex");
      if (!this.#sums.has(name)) this.#sums.set(name, sum);
      return this.#sums.get(name) === sum;
    } catch {
      return false;
    }
  }
}
