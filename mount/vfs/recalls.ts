import type { OpenFile, Recall } from "../../proto/gen/bigfs/v1/meta.js";
import { nameOf } from "../../proto/name.js";
import type { Core } from "./core.js";
import type { Locks } from "./locks.js";
import { isFolder } from "./modes.js";
import type { OpenFiles } from "./open-files.js";
import { within } from "./waiting.js";

/**
 * What the metadata daemon takes back. A recall is answered when nothing of it is cached here or in the kernel, with
 * two exceptions: the kernel is not waited for when it may itself be waiting for an answer of ours about that inode or
 * folder; and nothing is waited for beyond a third of the lease, or the daemon would have to give this mount up.
 */
export class Recalls {
  constructor(
    private readonly core: Core,
    private readonly files: OpenFiles,
    private readonly locks: Locks,
  ) {}

  async recall(recall: Recall): Promise<OpenFile[]> {
    const told = this.core.tellAttributes();
    const uncached = this.#confirmed([
      ...recall.inodes.map(({ ino, data, shared }) =>
        shared === true ? this.#share(ino) : this.#recallInode(ino, data),
      ),
      ...recall.entries.map(({ dir, name }) => this.#recallEntry(dir, name)),
    ]);
    // What was told to be done, others must see done, however long that takes.
    await this.core.early.settled([...recall.inodes.map(({ ino }) => ino), ...told]);
    await uncached;
    const shared = recall.inodes.filter((inode) => inode.shared === true);
    await Promise.all(shared.map(({ ino }) => this.#appended(ino)));
    return this.files.declared(new Set(recall.inodes.map(({ ino }) => ino)));
  }

  /** Nothing that is cached may be used any more. Resolves when that is so for the kernel too. */
  async uncached(): Promise<void> {
    const { core } = this;
    core.tellAttributes();
    core.answers.everythingChanged();
    core.inodes.invalidateAll();
    const entries = core.kernel.dropAllEntries() ? [] : [...core.entries.names()];
    core.entries.invalidateAll();
    const now = core.parts.clock.monotonicMs();
    const waits = entries.map(({ dir, name, ino }) => this.#wait(dir, core.dropEntry(dir, name, ino)));
    for (const inode of core.inodes.all()) {
      const { ino, file } = inode;
      file?.changed();
      if (file !== undefined || inode.pagesVersion !== 0) waits.push(this.#wait(ino, core.kernel.dropData(ino, 0, 0)));
      else if (inode.keptUntilMs > now) waits.push(this.#wait(ino, core.kernel.dropAttributes(ino)));
      inode.pagesVersion = 0;
      // Times and counters of a folder may have been seen with changes of others that were lost with them, in a later
      // version than a daemon that was restarted has now.
      if (isFolder(inode.attr)) inode.attr = { ...inode.attr, version: 0 };
    }
    await this.#confirmed(waits);
  }

  /** The session was given up: what was not committed never will be. Which changes are lost besides is not known. */
  fenced(isLost: boolean): void {
    const { core } = this;
    this.files.lostLocks(this.locks.fenced());
    for (const { errors, file } of core.inodes.all()) {
      const { count } = errors;
      file?.fenced();
      if (isLost && file !== undefined && errors.count === count) errors.add("EIO");
    }
    if (isLost) core.lostChanges.add("EIO");
    core.inodes.distrustAll();
    core.notify(this.uncached());
  }

  /** Something that was answered is not so. What, the daemon's answer does not tell: every handle hears of it. */
  lost(): void {
    const { core } = this;
    for (const { errors, file } of core.inodes.all()) if (file !== undefined) errors.add("EIO");
    core.lostChanges.add("EIO");
  }

  async #confirmed(waits: readonly Promise<void>[]): Promise<void> {
    const { clock, log } = this.core.parts;
    await within(clock, this.core.opts.deadlines.leaseMs / 3, Promise.all(waits)).catch((error: unknown) =>
      log.warn({ err: error }, "caches were given up before the kernel had confirmed it"),
    );
  }

  async #recallInode(ino: number, data: boolean): Promise<void> {
    const { core } = this;
    core.inodes.invalidate(ino);
    const inode = core.inodes.get(ino);
    // What the kernel has by an earlier process need not be known here.
    if (inode === undefined && core.opts.inherited === undefined) return;
    if (!data) return core.kernel.dropAttributes(ino);
    if (inode !== undefined) inode.pagesVersion = 0;
    inode?.file?.changed();
    // Others see what was written here the sooner. The commit must not be waited for: it may in turn wait for a recall
    // that the other session answers no earlier than this one is answered.
    inode?.file?.writer.start();
    await this.#dropData(ino);
  }

  /** Dropping attributes never waits in the kernel: whoever reads what is new must not be shown an old end of the file then. */
  async #dropData(ino: number): Promise<void> {
    const { busy, inodes, kernel } = this.core;
    const dropping = kernel.dropData(ino, 0, 0);
    inodes.get(ino)?.file?.unfills(dropping);
    const dropped = this.#wait(ino, dropping);
    if (busy.has(ino)) await kernel.dropAttributes(ino);
    await dropped;
  }

  /**
   * Somebody else opens the file: what was written here is committed first, and what is in the kernel's pages. When the
   * file is being opened or cut here, that may in turn wait for the other session, and what the kernel sends of its pages
   * waits for that; others see it when it is committed then.
   */
  async #share(ino: number): Promise<void> {
    const { core } = this;
    const file = core.inodes.get(ino)?.file;
    if (file === undefined) return;
    file.isShared = true;
    file.writer.start();
    if (!file.gate.isBusy) await this.#dropData(ino);
    await file.writer.flush();
  }

  /**
   * What was appended here has its place before others append, however long that takes: otherwise it would be committed
   * over what they append there.
   */
  async #appended(ino: number): Promise<void> {
    const file = this.core.inodes.get(ino)?.file;
    if (file?.writer.hasAppends === true) await file.writer.flush();
  }

  #recallEntry(dir: number, bytes: Buffer): Promise<void> {
    const { core } = this;
    const name = nameOf(bytes);
    const ino = core.entries.guess(dir, name);
    core.entries.invalidate(dir, name);
    if (core.inodes.serialOf(dir) === undefined && core.opts.inherited === undefined) return Promise.resolve();
    return this.#wait(dir, core.dropEntry(dir, name, ino));
  }

  #wait(ino: number, done: Promise<void>): Promise<void> {
    if (!this.core.busy.has(ino)) return done;
    this.core.notify(done);
    return Promise.resolve();
  }
}
