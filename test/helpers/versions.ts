import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** What a file holds; undefined: there is none. */
type Content = Buffer | undefined;

/**
 * Files that are changed while what changes them may die: until a change has returned they are as before or as after it,
 * whole; from then on as after it. Kept outside of what is tested.
 */
export class Versions {
  readonly #may = new Map<string, Content[]>();

  get size(): number {
    return this.#may.size;
  }

  /** Runs a change of that file into `next`, which is durable when it has returned. */
  async change(name: string, next: Buffer, change: () => Promise<void>): Promise<void> {
    this.#may.set(name, [...(this.#may.get(name) ?? [undefined]), next]);
    await change();
    this.#may.set(name, [next]);
  }

  /** Reads all of them; what is wrong. */
  async checkAll(folder: string): Promise<string[]> {
    const problems: string[] = [];
    for (const [name, may] of this.#may) {
      const found = await contentAt(join(folder, name));
      const isOne = may.some((content) => (content === undefined ? found === undefined : found?.equals(content)));
      const lengths = may.map((content) => content?.length ?? "none");
      if (!isOne) problems.push(`${name}: ${found?.length ?? "none"} bytes, not one of ${lengths.join()}`);
    }
    return problems;
  }
}

async function contentAt(path: string): Promise<Content> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
