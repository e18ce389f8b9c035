import type { Core } from "./core.js";
import { SELF, mustAttr } from "./core.js";
import type { Directories } from "./directories.js";
import type { Maybe } from "./filesystem.js";
import type { OpenFiles } from "./open-files.js";

/**
 * What the kernel still has of an earlier process of this mount that died. That process and its session are to programs
 * what a session is that was given up: what was not stored is lost and each handle that may have written hears EIO once,
 * handles of files that had locks are dead, the others go on. What is cached in the kernel stays right, because the
 * session goes on.
 */
export class Heir {
  constructor(
    private readonly core: Core,
    private readonly parts: { readonly files: OpenFiles; readonly directories: Directories },
  ) {
    // Nobody knows whether changes of names were lost.
    if (core.opts.inherited !== undefined) core.lostChanges.add("EIO");
  }

  /** The kernel has references to this inode that nobody here gave. Resolves when its pages have been dropped. */
  adopt(ino: number): Maybe<void> {
    const { core } = this;
    return core.inodes.get(ino) === undefined ? core.busy.during([ino], () => this.#adopt(ino)) : undefined;
  }

  /** Opens again what was open there; the new handle. */
  reopen(ino: number, write: boolean): Promise<number> {
    const { core } = this;
    const isDead = core.opts.inherited?.locked.has(ino) === true;
    const opened = this.parts.files.reopen(ino, { write, isDead });
    return core.busy.during([ino], () => opened.finally(() => this.#dropPages(ino))) as Promise<number>;
  }

  reopendir(ino: number): number {
    return this.parts.directories.reopen(ino);
  }

  async #adopt(ino: number): Promise<void> {
    const { inodes, kernel } = this.core;
    await this.core.ask("getattr", { ino }, SELF, (reply, ticket) => {
      const attr = mustAttr(reply.attr);
      if (inodes.get(ino) === undefined) inodes.take(attr, reply.cached, ticket);
    });
    await kernel.dropData(ino, 0, 0);
  }

  /** The kernel has bytes that were written and lost, perhaps. */
  #dropPages(ino: number): void {
    this.core.notify(this.core.kernel.dropData(ino, 0, 0));
  }
}
