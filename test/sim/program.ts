/** A program on a client: does one thing after the other with files, by chance, and compares what it sees with the model. */
import type { Chance } from "../helpers/chance.js";
import type { OpenFlags } from "../../mount/vfs/filesystem.js";
import type { Vfs } from "../../mount/vfs/vfs.js";
import { FsError, type Errno } from "../../proto/errno.js";
import { nameOf, type Name } from "../../proto/name.js";
import { CELL, cellsOf } from "./cells.js";
import type { DataChange, FileModel } from "./files-model.js";
import type { ClientMachine } from "./machines.js";
import { UNKNOWN, fail } from "./model.js";
import { ABSENT, type Model } from "./tree-model.js";

const WHO = { uid: 0, gid: 0, pid: 1 };
const FILE = 0o100644;
const READ: OpenFlags = { read: true, write: false, append: false, truncate: false, sync: false };
const WRITE: OpenFlags = { ...READ, write: true };
const APPEND: OpenFlags = { ...WRITE, append: true };

/** Answers like any; everything else says that something has failed. */
const ANSWERS: ReadonlySet<Errno> = new Set(["ENOENT", "EEXIST", "ESTALE"]);
/** What may fail when machines and networks do. */
const FAILURES: ReadonlySet<Errno> = new Set(["EIO", "ENOSPC", "ETIMEDOUT", "ESTALE"]);
/** Files are read whole. */
const WHOLE = 2 ** 26;
/** Cells of a file, at most. */
const CELLS_MAX = 600;

export interface Folders {
  /** What only one program changes, by program. */
  readonly own: number;
  /** What everybody changes. */
  readonly shared: number;
  /** The own ones of all. */
  readonly all: readonly number[];
}

interface Open {
  readonly handle: number;
  readonly file: FileModel;
  readonly opened: number;
  readonly isLog: boolean;
  /** In cells, as far as this program knows. */
  size: number;
}

/** The process has died meanwhile. */
class Died extends Error {}

export interface ProgramParts {
  readonly machine: ClientMachine;
  readonly model: Model;
  readonly chance: Chance;
  readonly note: (what: string) => void;
  /** Nothing has failed for long. */
  readonly isCalm: () => boolean;
}

export class Program {
  #open: Open[] = [];
  #fs: Vfs | undefined;
  #life = 0;

  constructor(
    readonly name: string,
    private readonly parts: ProgramParts,
    private readonly folders: Folders,
  ) {}

  /** Does one thing; false: the client is not up. */
  async step(): Promise<boolean> {
    const { machine, chance } = this.parts;
    const { fs } = machine;
    if (fs === undefined) return false;
    if (fs !== this.#fs) {
      this.#fs = fs;
      this.#life += 1;
      this.#open = [];
    }
    await this.#guarded(() => this.#one(chance.below(100)));
    return true;
  }

  /** Closes everything, and judges all that can be seen. */
  async finish(): Promise<void> {
    while (this.#open.length > 0) await this.#guarded(() => this.#close(this.#open[0]!));
  }

  /** Everything is whole again: nothing may fail any more. */
  async audit(): Promise<void> {
    this.#fs = this.parts.machine.fs;
    this.#life += 1;
    this.#open = [];
    for (const dir of [...this.folders.all, this.folders.shared]) await this.#guarded(() => this.#audit(dir));
  }

  #note(what: string): void {
    this.parts.note(`${this.name} ${what}`);
  }

  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof Died) return;
      if (error instanceof FsError && FAILURES.has(error.errno)) {
        this.#note(`failed: ${error.message}`);
        if (this.parts.isCalm()) this.parts.model.report(`${this.name} fails without a reason: ${error.message}`);
        return;
      }
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.parts.model.report(`${this.name} breaks: ${text}`);
    }
  }

  #one(dice: number): Promise<void> {
    const { chance } = this.parts;
    const open = this.#open[chance.below(this.#open.length)];
    if (dice < 16 || (open === undefined && dice < 55)) return this.#openSome();
    if (open !== undefined && dice < 42) return open.isLog ? this.#append(open) : this.#write(open);
    if (open !== undefined && dice < 46) return open.isLog ? this.#append(open) : this.#cut(open);
    if (open !== undefined && dice < 52) return this.#sync(open);
    if (open !== undefined && dice < 60) return this.#close(open);
    if (dice < 66) return this.#list(chance.happens(0.5) ? this.folders.shared : this.#anyFolder());
    if (dice < 84) return this.#readSome();
    if (dice < 90) return this.#removeSome();
    return this.#renameSome();
  }

  // Names

  #anyFolder(): number {
    const { all } = this.folders;
    return all[this.parts.chance.below(all.length)] ?? this.folders.shared;
  }

  #ownName(): string {
    return `${this.name}-${this.parts.chance.below(5)}`;
  }

  /** Names that all programs make and remove. */
  #commonName(): string {
    return `common-${this.parts.chance.below(4)}`;
  }

  async #openSome(): Promise<void> {
    const { chance } = this.parts;
    const { own, shared } = this.folders;
    if (this.#open.length >= 3) return this.#close(this.#open[0]!);
    const kind = chance.below(10);
    if (kind < 6) return this.#openOwn(own, this.#ownName());
    if (kind < 8) return this.#openLog(shared, `log-${chance.below(2)}`);
    return this.#makeCommon(shared, this.#commonName());
  }

  /** Makes a file that only this program writes, or goes on with it. */
  async #openOwn(dir: number, name: string): Promise<void> {
    const { model } = this.parts;
    if (this.#open.some(({ file }) => file.ino === model.name(dir, name).latest)) return;
    const made = await this.#make(dir, name, { ...WRITE, exclusive: true }, false);
    if (made !== undefined) return void this.#open.push(made);
    const found = await this.#find(dir, name);
    if (found === undefined || this.#open.some(({ file }) => file === found)) return;
    const opened = await this.#openFile(found, WRITE);
    if (opened === undefined) return;
    this.#open.push(opened);
    const size = await this.#read(opened);
    opened.size = size ?? 0;
    if (size === undefined) await this.#close(opened);
  }

  /** Opens a file that everybody appends to. */
  async #openLog(dir: number, name: string): Promise<void> {
    const made = await this.#make(dir, name, { ...APPEND, exclusive: true }, true);
    if (made !== undefined) return void this.#open.push(made);
    const found = await this.#find(dir, name);
    if (found === undefined) return;
    const opened = await this.#openFile(found, APPEND);
    if (opened !== undefined) this.#open.push(opened);
  }

  async #makeCommon(dir: number, name: string): Promise<void> {
    const made = await this.#make(dir, name, { ...WRITE, exclusive: true }, false);
    if (made === undefined) return;
    await this.#write(made);
    await this.#close(made);
  }

  /** Undefined: the name is there already. */
  async #make(
    dir: number,
    name: string,
    flags: OpenFlags & { exclusive: boolean },
    isLog: boolean,
  ): Promise<Open | undefined> {
    const { model } = this.parts;
    const change = model.begin(this.#who());
    this.#note(`make ${name} in ${dir} at ${change.start}`);
    const register = model.name(dir, name);
    const written = register.write(change, UNKNOWN);
    try {
      const found = await this.#during((fs) => fs.create(WHO, dir, bytes(name), FILE, 0, flags));
      const ino = found.attr?.ino ?? ABSENT;
      written.value = ino;
      model.done(change);
      return { handle: found.handle, file: model.made(ino, isLog), opened: change.end, isLog, size: 0 };
    } catch (error) {
      if (error instanceof FsError && error.errno === "EEXIST") {
        register.refused(change);
        if (!register.mayBe(change.start, model.moments.next()))
          model.report(`${name} in ${dir} exists, and nobody made it: ${String(register)}`);
        return undefined;
      }
      fail(change);
      throw error;
    }
  }

  /** The file of that name; undefined: there is none, or none that is known. */
  async #find(dir: number, name: string): Promise<FileModel | undefined> {
    const { model } = this.parts;
    const start = model.moments.next();
    const found = await this.#during((fs) => fs.lookup(WHO, dir, bytes(name)));
    const ino = found.attr?.ino ?? ABSENT;
    return this.#seen(dir, name, ino, start);
  }

  #seen(dir: number, name: string, ino: number, start: number): FileModel | undefined {
    const { model } = this.parts;
    const asked = { start, end: model.moments.next() };
    const register = model.name(dir, name);
    // Made, or moved, by a program that was not told of which file.
    const isFound = ino !== ABSENT && !register.allows(ino, asked) && register.resolve(ino);
    if (isFound) model.found(ino, name.startsWith("log-"));
    model.seesName(dir, name, ino, asked);
    return model.files.get(ino);
  }

  async #list(dir: number): Promise<void> {
    const { model } = this.parts;
    const start = model.moments.next();
    const { handle } = await this.#during((fs) => fs.opendir(WHO, dir));
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
      await this.#during((fs) => fs.readdir(handle, cookie, false, take));
    }
    await this.#during((fs) => fs.releasedir(handle));
    for (const name of model.namesIn(dir)) this.#seen(dir, name, listed.get(name) ?? ABSENT, start);
    for (const name of listed.keys()) {
      if (name !== "." && name !== ".." && !model.namesIn(dir).includes(name))
        model.report(`nobody made ${name}, which is listed in ${dir}`);
    }
  }

  async #removeSome(): Promise<void> {
    const { chance, model } = this.parts;
    const { own, shared } = this.folders;
    const [dir, name] = chance.happens(0.6) ? [own, this.#ownName()] : [shared, this.#commonName()];
    const change = model.begin(this.#who());
    this.#note(`remove ${name} in ${dir} at ${change.start}`);
    const register = model.name(dir, name);
    register.write(change, ABSENT);
    try {
      await this.#during((fs) => fs.unlink(WHO, dir, bytes(name)));
      model.done(change);
    } catch (error) {
      if (error instanceof FsError && error.errno === "ENOENT") {
        register.refused(change);
        return model.seesName(dir, name, ABSENT, { start: change.start, end: model.moments.next() });
      }
      fail(change);
      throw error;
    }
  }

  /** Over another one, as programs do that save a file. */
  async #renameSome(): Promise<void> {
    const { model } = this.parts;
    const { own: dir } = this.folders;
    const [from, into] = [this.#ownName(), this.#ownName()];
    if (from === into) return;
    const [source, target] = [model.name(dir, from), model.name(dir, into)];
    const ino = source.certain;
    // Which file it moves would have to be guessed.
    if (ino === undefined) return;
    const change = model.begin(this.#who());
    this.#note(`rename ${from} to ${into} in ${dir} at ${change.start}`);
    source.write(change, ABSENT);
    target.write(change, ino);
    try {
      const move = { fromDir: dir, fromName: bytes(from), intoDir: dir, intoName: bytes(into) };
      await this.#during((fs) => fs.rename(WHO, { ...move, noReplace: false, exchange: false }));
      model.done(change);
    } catch (error) {
      if (error instanceof FsError && error.errno === "ENOENT") {
        source.refused(change);
        target.refused(change);
        return model.seesName(dir, from, ABSENT, { start: change.start, end: model.moments.next() });
      }
      fail(change);
      throw error;
    }
  }

  // Data

  async #openFile(file: FileModel, flags: OpenFlags): Promise<Open | undefined> {
    const { model } = this.parts;
    const opened = model.moments.next();
    try {
      const { handle } = await this.#during((fs) => fs.open(WHO, file.ino, flags));
      return { handle, file, opened, isLog: file.isLog, size: 0 };
    } catch (error) {
      // It may have gone since it was found.
      if (error instanceof FsError && ANSWERS.has(error.errno)) return undefined;
      throw error;
    }
  }

  async #readSome(): Promise<void> {
    const { chance } = this.parts;
    const dir = chance.happens(0.3) ? this.folders.shared : this.#anyFolder();
    const names = this.parts.model.namesIn(dir);
    const name = names[chance.below(names.length)];
    const file = name === undefined ? undefined : await this.#find(dir, name);
    const opened = file && (await this.#openFile(file, READ));
    if (opened === undefined) return;
    try {
      await this.#read(opened);
    } finally {
      await this.#release(opened);
    }
  }

  /** The whole file; its size in cells. Undefined: it cannot be read, and that may be so. */
  async #read(open: Open): Promise<number | undefined> {
    const { model } = this.parts;
    const start = model.moments.next();
    let content: Buffer;
    try {
      content = await this.#during((fs) => fs.read(open.handle, 0, WHOLE));
    } catch (error) {
      if (error instanceof FsError && FAILURES.has(error.errno) && model.mayBeLost(open.file)) return undefined;
      throw error;
    }
    const reading = { ...this.#who(), opened: open.opened, start, end: model.moments.next() };
    this.#note(`read ${content.length / CELL} cells of file ${open.file.ino} at ${start}-${reading.end}`);
    open.file.check(content, reading, model.report);
    return content.length / CELL;
  }

  async #write(open: Open): Promise<void> {
    const { chance } = this.parts;
    const from = chance.happens(0.5) ? open.size : chance.below(open.size + 1);
    const count = chance.happens(0.2) ? 1 + chance.below(200) : 1 + chance.below(8);
    if (from + count > CELLS_MAX) return this.#cut(open);
    return this.#put(open, from, count);
  }

  #append(open: Open): Promise<void> {
    const { chance } = this.parts;
    return this.#put(open, 0, chance.happens(0.1) ? 1 + chance.below(150) : 1 + chance.below(10));
  }

  async #put(open: Open, from: number, count: number): Promise<void> {
    const { model } = this.parts;
    const change = this.#data(open, { from, to: from + count, isCut: false });
    await this.#changing(open, change, async () => {
      const data = cellsOf(change.id, from, count);
      const answer = this.#during((fs) => fs.write(open.handle, from * CELL, data));
      // It is the program's again as soon as that has returned.
      data.fill(0xdb);
      const written = await answer;
      if (written !== count * CELL) model.report(`${written} bytes of ${count * CELL} were written`);
    });
    open.size = Math.max(open.size, from + count);
  }

  async #cut(open: Open): Promise<void> {
    const to = this.parts.chance.below(open.size + 1);
    const change = this.#data(open, { from: to, to: Infinity, isCut: true });
    await this.#changing(open, change, async () => {
      const handle = this.parts.chance.happens(0.7) ? open.handle : undefined;
      await this.#during((fs) => fs.setattr(WHO, open.file.ino, { size: to * CELL }, handle));
    });
    open.size = to;
  }

  #data(open: Open, what: { from: number; to: number; isCut: boolean }): DataChange {
    const { model } = this.parts;
    const change = Object.assign(model.begin(this.#who()), { ...what, handle: open.handle, opened: open.opened });
    this.#note(
      `${what.isCut ? "cut" : "write"} ${change.id} at ${change.start}: file ${open.file.ino} ${what.from}-${what.to}`,
    );
    return open.file.add(change);
  }

  async #changing(open: Open, change: DataChange, work: () => Promise<void>): Promise<void> {
    const { model } = this.parts;
    try {
      await work();
      model.done(change, { data: true });
    } catch (error) {
      fail(change);
      if (!(error instanceof Died)) await this.#failed(open);
      throw error;
    }
  }

  async #sync(open: Open): Promise<void> {
    const { model } = this.parts;
    const start = model.moments.next();
    const moment = await this.#storing(open, start, () => this.#during((fs) => fs.fsync(open.handle)));
    open.file.synced(start, moment);
    this.#note(`synced file ${open.file.ino}, asked at ${start}`);
  }

  /** The moment at which it was stored. */
  async #storing(open: Open, start: number, work: () => Promise<void>): Promise<number> {
    const { model, machine } = this.parts;
    try {
      await work();
      const now = { moment: model.moments.next(), ms: machine.nowMs };
      open.file.flushed({ ...this.#who(), handle: open.handle }, start, now, model.report);
      return now.moment;
    } catch (error) {
      if (!(error instanceof Died)) await this.#failed(open);
      throw error;
    }
  }

  /** What came by the handle may be lost: the program goes on with another one. */
  async #failed(open: Open): Promise<void> {
    open.file.failed({ ...this.#who(), handle: open.handle });
    this.#open = this.#open.filter((other) => other !== open);
    await this.#release(open).catch(() => {});
  }

  async #close(open: Open): Promise<void> {
    const { model } = this.parts;
    this.#note(`close file ${open.file.ino}`);
    this.#open = this.#open.filter((other) => other !== open);
    await this.#storing(open, model.moments.next(), async () => this.#during((fs) => fs.flush(open.handle)));
    await this.#release(open);
  }

  async #release(open: Open): Promise<void> {
    await this.#during((fs) => fs.release(open.handle));
  }

  // After everything

  async #audit(dir: number): Promise<void> {
    const { model } = this.parts;
    await this.#list(dir);
    for (const name of model.namesIn(dir)) {
      const file = await this.#find(dir, name);
      const opened = file && (await this.#openFile(file, READ));
      if (opened === undefined) continue;
      await this.#read(opened);
      await this.#release(opened);
    }
  }

  #who() {
    return { client: this.parts.machine.host, life: this.#life };
  }

  /** The answer; throws Died when the process has gone before it. */
  async #during<T>(ask: (fs: Vfs) => T | Promise<T>): Promise<T> {
    const { machine } = this.parts;
    const fs = this.#fs;
    if (fs === undefined || machine.fs !== fs) throw new Died();
    const died = machine.life!.death.then(() => {
      throw new Died();
    });
    died.catch(() => {});
    return Promise.race([ask(fs), died]);
  }
}

function bytes(name: string): Name {
  return nameOf(Buffer.from(name));
}
