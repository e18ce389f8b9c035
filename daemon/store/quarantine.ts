import { dirname, join } from "node:path";
import { asideName, parseAsideName } from "../common/chunks/aside-name.js";
import { idOfName, type Layout } from "../common/chunks/layout.js";
import { systemClock, type Clock } from "../common/clock.js";
import { systemRandom, type Random } from "../common/random.js";
import { codeOf, type Disk } from "./disk.js";

export interface QuarantineParts {
  readonly disk: Disk;
  readonly layout: Layout;
  /** Default: the machine's. */
  readonly random?: Random | undefined;
  /** Default: the machine's. */
  readonly clock?: Pick<Clock, "now"> | undefined;
}

export interface QuarantinedFile {
  /** In the folder. */
  readonly file: string;
  /** undefined: it was no chunk's. */
  readonly chunk: number | undefined;
  /** Bytes of the file. */
  readonly size: number;
  /** undefined: nobody wrote it down. */
  readonly reason: string | undefined;
  /** Seconds since 1970; undefined likewise. */
  readonly since: number | undefined;
}

export interface QuarantinePage {
  readonly files: readonly QuarantinedFile[];
  /** Where the next page begins; undefined: this is the last. */
  readonly next: string | undefined;
}

/** The folder of what is bad or cannot be explained. Nothing leaves it but by a person's hand. */
export class Quarantine {
  readonly #random: Random;
  readonly #clock: Pick<Clock, "now">;
  #size = 0;

  constructor(private readonly parts: QuarantineParts) {
    this.#random = parts.random ?? systemRandom;
    this.#clock = parts.clock ?? systemClock;
  }

  /** Files in it, as counted at the last `count` and taken since. */
  get size(): number {
    return this.#size;
  }

  get folder(): string {
    return this.parts.layout.quarantine;
  }

  async count(): Promise<void> {
    this.#size = (await this.parts.disk.list(this.folder)).length;
  }

  /** Moves a file of that name here, for good when this resolves. Rejects as the disk does. */
  async take(path: string, name: string, reason: string): Promise<void> {
    const { disk } = this.parts;
    const about = { name, nonce: this.#random.hex(4), since: this.#clock.now().sec, reason };
    await disk.rename(path, join(this.folder, asideName(about)));
    this.#size++;
    await disk.sync(this.folder);
    await disk.sync(dirname(path));
  }

  /** At most `limit` files after that one, in order of their names. */
  async list(after: string, limit: number): Promise<QuarantinePage> {
    const names = (await this.parts.disk.list(this.folder)).filter((name) => name > after).sort();
    const page = names.slice(0, limit);
    const files = await Promise.all(page.map((name) => this.#look(name)));
    return { files: files.flat(), next: names.length > limit ? page.at(-1) : undefined };
  }

  /** None: somebody has removed it meanwhile. */
  async #look(file: string): Promise<QuarantinedFile[]> {
    const { name = "", reason, since } = parseAsideName(file) ?? {};
    try {
      const size = await this.parts.disk.size(join(this.folder, file));
      return [{ file, chunk: idOfName(name), size, reason, since }];
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw error;
    }
  }
}
