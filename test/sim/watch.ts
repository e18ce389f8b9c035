/** Somebody on each client who looks at what programs on the others change, when what is cached there matters. */
import type { Chance } from "../helpers/chance.js";
import { Eyes, READ, type EyesParts, type Open } from "./eyes.js";
import { FileModel } from "./files-model.js";
import type { Scheduler } from "./scheduler.js";

/** A file, or names of a folder. */
export type Watched = FileModel | { readonly dir: number; readonly names: readonly string[] };

/** Whoever is about to change something waits so long, at most, for others to have it in their caches. */
const PRIME_MS = 40;
/** Readings of a file that stays open between them. */
const HELD_READINGS = 4;

export class Watch {
  constructor(
    private readonly watchers: readonly Watcher[],
    private readonly scheduler: Scheduler,
  ) {}

  /** A program on that host is about to change this. */
  async before(host: string, what: Watched): Promise<void> {
    const { chance } = this.scheduler;
    if (!chance.happens(0.3) || !this.#look(host, what)) return;
    await this.scheduler.pause(chance.next() * PRIME_MS);
  }

  /** It has done so, and was answered at this moment. */
  after(host: string, what: Watched): void {
    if (this.scheduler.chance.happens(0.5)) this.#look(host, what);
  }

  /** The one on that host looks at every name. */
  everything(host: string): void {
    this.watchers.find((watcher) => watcher.host === host)?.lookAround();
  }

  /** Resolves when nobody looks any more. */
  async finish(): Promise<void> {
    while (this.watchers.some(({ isBusy }) => isBusy)) await this.scheduler.pause(100);
    for (const watcher of this.watchers) await watcher.finish();
  }

  /** False: there is nobody else. */
  #look(host: string, what: Watched): boolean {
    const others = this.watchers.filter((watcher) => watcher.host !== host);
    for (const watcher of others) watcher.look(what);
    return others.length > 0;
  }
}

export class Watcher extends Eyes {
  /** What is being looked at. */
  readonly #busy = new Set<unknown>();
  /** What stays open, and for how many readings. */
  readonly #held = new Map<FileModel, { readonly open: Open; left: number }>();

  constructor(
    readonly host: string,
    private readonly chance: Chance,
    parts: EyesParts,
  ) {
    super(`${host}w`, parts);
  }

  get isBusy(): boolean {
    return this.#busy.size > 0;
  }

  look(what: Watched): void {
    if (!this.attach()) return;
    if (what instanceof FileModel) return this.#once(what, () => this.#readFile(what));
    const { dir, names } = what;
    for (const name of names) this.#once(`${dir} ${name}`, async () => void (await this.find(dir, name)));
  }

  lookAround(): void {
    const { model } = this.eyes;
    for (const dir of model.folders) this.look({ dir, names: model.namesIn(dir) });
  }

  async finish(): Promise<void> {
    for (const { open } of this.#held.values()) await this.guarded(() => this.release(open));
    this.#held.clear();
  }

  protected override forget(): void {
    this.#held.clear();
  }

  /** Unless it is under way already, as on a client that is cut off. */
  #once(what: unknown, work: () => Promise<void>): void {
    if (this.#busy.has(what)) return;
    this.#busy.add(what);
    void this.guarded(work).finally(() => this.#busy.delete(what));
  }

  async #readFile(file: FileModel): Promise<void> {
    const held = this.#held.get(file);
    const open = held?.open ?? (await this.openFile(file, READ));
    if (open === undefined) return;
    const left = held?.left ?? (this.chance.happens(0.2) ? HELD_READINGS : 0);
    this.#held.delete(file);
    try {
      await this.read(open);
      if (left > 0) this.#held.set(file, { open, left: left - 1 });
    } finally {
      if (!this.#held.has(file)) await this.release(open);
    }
  }
}
