/** What somebody on a client sees, compared with the model. */
import type { OpenFlags } from "../../mount/vfs/filesystem.js";
import type { Vfs } from "../../mount/vfs/vfs.js";
import { FsError, type Errno } from "../../proto/errno.js";
import { nameOf, type Name } from "../../proto/name.js";
import { CELL } from "./cells.js";
import type { FileModel } from "./files-model.js";
import type { ClientMachine } from "./machines.js";
import type { Seer } from "./model.js";
import { ABSENT, type Model } from "./tree-model.js";

export const WHO = { uid: 0, gid: 0, pid: 1 };
export const READ: OpenFlags = { read: true, write: false, append: false, truncate: false, sync: false };

/** Answers like any; everything else says that something has failed. */
const ANSWERS: ReadonlySet<Errno> = new Set(["ENOENT", "EEXIST", "ESTALE"]);
/** What may fail when machines and networks do. */
const FAILURES: ReadonlySet<Errno> = new Set(["EIO", "ENOSPC", "ETIMEDOUT", "ESTALE"]);
/** The extended attribute that files have. */
export const XATTR = nameOf(Buffer.from("user.sim"));
/** Files are read whole. */
const WHOLE = 2 ** 26;

export interface Open {
  readonly handle: number;
  readonly file: FileModel;
  /** When it was asked for, and answered. */
  readonly opened: number;
  readonly held: number;
  /** The client's session then. */
  readonly session: number;
  /** In cells, as far as this program knows. */
  size: number;
}

export interface EyesParts {
  readonly machine: ClientMachine;
  readonly model: Model;
  readonly note: (what: string) => void;
  /** Nothing has failed for long. */
  readonly isCalm: () => boolean;
}

/** The process has died meanwhile. */
export class Died extends Error {}

export class Eyes {
  #fs: Vfs | undefined;

  constructor(
    readonly name: string,
    protected readonly eyes: EyesParts,
  ) {}

  /** Looks through the client that is up now; false: it is none. */
  attach(): boolean {
    const { fs } = this.eyes.machine;
    if (fs === undefined) return false;
    if (fs !== this.#fs) {
      this.#fs = fs;
      this.forget();
    }
    return true;
  }

  /** Everything that was open has gone with the process. */
  protected forget(): void {}

  protected who(): Seer {
    const { host, lives } = this.eyes.machine;
    return { client: host, life: lives };
  }

  protected note(what: string): void {
    this.eyes.note(`${this.name} ${what}`);
  }

  protected async guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof Died) return;
      if (error instanceof FsError && FAILURES.has(error.errno)) {
        this.note(`failed: ${error.message}`);
        if (this.eyes.isCalm()) this.eyes.model.report(`${this.name} fails without a reason: ${error.message}`);
        return;
      }
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.eyes.model.report(`${this.name} breaks: ${text}`);
    }
  }

  /** The answer; throws Died when the process has gone before it. */
  protected async during<T>(ask: (fs: Vfs) => T | Promise<T>): Promise<T> {
    const { machine } = this.eyes;
    const fs = this.#fs;
    if (fs === undefined || machine.fs !== fs) throw new Died();
    const died = machine.life!.death.then(() => {
      throw new Died();
    });
    died.catch(() => {});
    return Promise.race([ask(fs), died]);
  }

  /** The file of that name; undefined: there is none, or none that is known. */
  protected async find(dir: number, name: string): Promise<FileModel | undefined> {
    const { model } = this.eyes;
    const start = model.moments.next();
    const found = await this.during((fs) => fs.lookup(WHO, dir, bytes(name)));
    return this.#seen(dir, name, found.attr?.ino ?? ABSENT, start);
  }

  #seen(dir: number, name: string, ino: number, start: number): FileModel | undefined {
    const { model } = this.eyes;
    const asked = { ...this.who(), start, end: model.moments.next() };
    const register = model.name(dir, name);
    // Made, or moved, by a program that was not told of which file.
    const isFound = ino !== ABSENT && !register.allows(ino, asked) && register.resolve(ino);
    if (isFound) model.found(ino, name.startsWith("log-"));
    model.seesName(dir, name, ino, asked);
    return model.files.get(ino);
  }

  protected async list(dir: number): Promise<void> {
    const { model } = this.eyes;
    const start = model.moments.next();
    const { handle } = await this.during((fs) => fs.opendir(WHO, dir));
    const listed = new Map<string, number>();
    let cookie = 0;
    for (let isMore = true; isMore;) {
      isMore = false;
      const take = (entry: { name: Name; ino: number; cookie: number }): boolean => {
        if (listed.has(entry.name)) model.report(`${entry.name} is listed twice in ${dir}`);
        listed.set(entry.name, entry.ino);
        cookie = entry.cookie;
        isMore = true;
        return true;
      };
      await this.during((fs) => fs.readdir(handle, cookie, false, take));
    }
    await this.during((fs) => fs.releasedir(handle));
    for (const name of model.namesIn(dir)) this.#seen(dir, name, listed.get(name) ?? ABSENT, start);
    for (const name of listed.keys()) {
      if (name !== "." && name !== ".." && !model.namesIn(dir).includes(name))
        model.report(`nobody made ${name}, which is listed in ${dir}`);
    }
  }

  protected async openFile(file: FileModel, flags: OpenFlags): Promise<Open | undefined> {
    const { model } = this.eyes;
    const opened = model.moments.next();
    try {
      const { handle } = await this.during((fs) => fs.open(WHO, file.ino, flags));
      return this.opened(handle, file, opened);
    } catch (error) {
      // It may have gone since it was found.
      if (error instanceof FsError && ANSWERS.has(error.errno)) return undefined;
      throw error;
    }
  }

  protected opened(handle: number, file: FileModel, opened: number): Open {
    const { model, machine } = this.eyes;
    return { handle, file, opened, held: model.moments.next(), session: machine.sessions, size: 0 };
  }

  protected async release(open: Open): Promise<void> {
    await this.during((fs) => fs.release(open.handle));
  }

  /** Its extended attribute. */
  async #readAttribute(ino: number): Promise<void> {
    const { model } = this.eyes;
    const start = model.moments.next();
    let value = ABSENT;
    try {
      value = Number((await this.during((fs) => fs.getxattr(WHO, ino, XATTR))).toString());
    } catch (error) {
      // The session that has it open may be over.
      if (error instanceof FsError && ANSWERS.has(error.errno)) return;
      if (!(error instanceof FsError && error.errno === "ENODATA")) throw error;
    }
    model.seesAttribute(ino, value, { ...this.who(), start, end: model.moments.next() });
  }

  /** The whole file; its size in cells. Undefined: it cannot be read, and that may be so. */
  protected async read(open: Open): Promise<number | undefined> {
    const { model, machine } = this.eyes;
    await this.#readAttribute(open.file.ino);
    const { file, handle } = open;
    const start = model.moments.next();
    let content: Buffer;
    const lost = new Set<number>();
    try {
      content = await this.during((fs) => fs.read(handle, 0, WHOLE));
    } catch (error) {
      if (!(error instanceof FsError && FAILURES.has(error.errno) && model.hasLost)) throw error;
      // Whether copies are lost or only out of reach is not to be seen.
      if (!this.eyes.isCalm()) return undefined;
      const { attr } = await this.during((fs) => fs.getattr(WHO, file.ino));
      content = await this.#readParts(open, Math.ceil(attr.size / CELL), lost);
    }
    const held = machine.sessions === open.session ? open.held : Infinity;
    const reading = { ...this.who(), opened: open.opened, held, start, end: model.moments.next(), lost };
    this.note(`read ${content.length / CELL} cells of file ${file.ino} at ${start}-${reading.end}, ${lost.size} lost`);
    file.check(content, reading, model);
    return lost.size > 0 ? undefined : content.length / CELL;
  }

  /** So many cells, with zeros where there is an error. */
  async #readParts({ handle, file }: Open, cells: number, lost: Set<number>): Promise<Buffer> {
    const content = Buffer.alloc(cells * CELL);
    const read = async (from: number, to: number): Promise<void> => {
      try {
        const part = await this.during((fs) => fs.read(handle, from * CELL, (to - from) * CELL));
        part.copy(content, from * CELL);
      } catch (error) {
        if (!(error instanceof FsError && error.errno === "EIO")) throw error;
        for (let at = from; at < to; at++) lost.add(at);
      }
    };
    const starts = file.pieces(cells);
    await Promise.all(starts.map((from, i) => read(from, starts[i + 1] ?? cells)));
    return content;
  }
}

export function bytes(name: string): Name {
  return nameOf(Buffer.from(name));
}
