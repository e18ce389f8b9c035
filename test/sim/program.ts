/** A program on a client: does one thing after the other with files, by chance, and compares what it sees with the model. */
import type { Chance } from "../helpers/chance.js";
import type { OpenFlags } from "../../mount/vfs/filesystem.js";
import type { Vfs } from "../../mount/vfs/vfs.js";
import { FsError } from "../../proto/errno.js";
import { CELL, cellsOf } from "./cells.js";
import { Died, Eyes, READ, WHO, bytes, type EyesParts, type Open } from "./eyes.js";
import type { DataChange } from "./files-model.js";
import { UNKNOWN, fail } from "./model.js";
import { ABSENT } from "./tree-model.js";
import type { Watch, Watched } from "./watch.js";

const FILE = 0o100644;
const WRITE: OpenFlags = { ...READ, write: true };
const APPEND: OpenFlags = { ...WRITE, append: true };

/** Cells that some files get before they are fsynced. */
const SYNCED = 20;
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

/** Hears of what a program does, to be in its way just then. */
export interface Meddler {
  /** A change is being asked for. */
  asked(host: string): void;
  /** A file was fsynced. */
  synced(): void;
}

export interface ProgramParts extends EyesParts {
  readonly chance: Chance;
  readonly watch: Watch;
  readonly meddler: Meddler;
}

export class Program extends Eyes {
  #open: Open[] = [];

  constructor(
    name: string,
    private readonly parts: ProgramParts,
    private readonly folders: Folders,
  ) {
    super(name, parts);
  }

  /** Does one thing; false: the client is not up. */
  async step(): Promise<boolean> {
    if (!this.attach()) return false;
    await this.guarded(() => this.#one(this.parts.chance.below(100)));
    return true;
  }

  /** Closes everything, and judges all that can be seen. */
  async finish(): Promise<void> {
    while (this.#open.length > 0) await this.guarded(() => this.#close(this.#open[0]!));
  }

  /** Everything is whole again: nothing may fail any more. */
  async audit(): Promise<void> {
    this.attach();
    for (const dir of [...this.folders.all, this.folders.shared]) await this.guarded(() => this.#audit(dir));
  }

  protected override forget(): void {
    this.#open = [];
  }

  #one(dice: number): Promise<void> {
    const { chance } = this.parts;
    const open = this.#open[chance.below(this.#open.length)];
    if (dice < 16 || (open === undefined && dice < 55)) return this.#openSome();
    if (open !== undefined && dice < 40) return open.file.isLog ? this.#append(open) : this.#write(open);
    if (open !== undefined && dice < 44) return open.file.isLog ? this.#append(open) : this.#cut(open);
    if (open !== undefined && dice < 52) return this.#sync(open);
    if (open !== undefined && dice < 60) return this.#close(open);
    if (dice < 66) return this.list(chance.happens(0.5) ? this.folders.shared : this.#anyFolder());
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
    const found = await this.find(dir, name);
    if (found === undefined || this.#open.some(({ file }) => file === found)) return;
    const opened = await this.openFile(found, WRITE);
    if (opened === undefined) return;
    this.#open.push(opened);
    const size = await this.read(opened);
    opened.size = size ?? 0;
    if (size === undefined) await this.#close(opened);
  }

  /** Opens a file that everybody appends to. */
  async #openLog(dir: number, name: string): Promise<void> {
    const made = await this.#make(dir, name, { ...APPEND, exclusive: true }, true);
    if (made !== undefined) return void this.#open.push(made);
    const found = await this.find(dir, name);
    if (found === undefined) return;
    const opened = await this.openFile(found, APPEND);
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
    await this.#watched({ dir, names: [name] });
    const change = model.begin(this.who());
    this.note(`make ${name} in ${dir} at ${change.start}`);
    const register = model.name(dir, name);
    const written = register.write(change, UNKNOWN);
    try {
      const found = await this.#ask((fs) => fs.create(WHO, dir, bytes(name), FILE, 0, flags));
      const ino = found.attr?.ino ?? ABSENT;
      written.value = ino;
      model.done(change);
      this.#changed({ dir, names: [name] });
      return this.opened(found.handle, model.made(ino, isLog), change.end);
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

  async #removeSome(): Promise<void> {
    const { chance, model } = this.parts;
    const { own, shared } = this.folders;
    const [dir, name] = chance.happens(0.6) ? [own, this.#ownName()] : [shared, this.#commonName()];
    await this.#watched({ dir, names: [name] });
    const change = model.begin(this.who());
    this.note(`remove ${name} in ${dir} at ${change.start}`);
    const register = model.name(dir, name);
    register.write(change, ABSENT);
    try {
      await this.#ask((fs) => fs.unlink(WHO, dir, bytes(name)));
      model.done(change);
      this.#changed({ dir, names: [name] });
    } catch (error) {
      if (error instanceof FsError && error.errno === "ENOENT") {
        register.refused(change);
        return model.seesName(dir, name, ABSENT, { ...this.who(), start: change.start, end: model.moments.next() });
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
    await this.#watched({ dir, names: [from, into] });
    const [source, target] = [model.name(dir, from), model.name(dir, into)];
    const ino = source.certain;
    // Which file it moves would have to be guessed.
    if (ino === undefined) return;
    const change = model.begin(this.who());
    this.note(`rename ${from} to ${into} in ${dir} at ${change.start}`);
    source.write(change, ABSENT);
    target.write(change, ino);
    try {
      const move = { fromDir: dir, fromName: bytes(from), intoDir: dir, intoName: bytes(into) };
      await this.#ask((fs) => fs.rename(WHO, { ...move, noReplace: false, exchange: false }));
      model.done(change);
      this.#changed({ dir, names: [from, into] });
    } catch (error) {
      if (error instanceof FsError && error.errno === "ENOENT") {
        source.refused(change);
        target.refused(change);
        return model.seesName(dir, from, ABSENT, { ...this.who(), start: change.start, end: model.moments.next() });
      }
      fail(change);
      throw error;
    }
  }

  // Data

  async #readSome(): Promise<void> {
    const { chance } = this.parts;
    const dir = chance.happens(0.3) ? this.folders.shared : this.#anyFolder();
    const names = this.parts.model.namesIn(dir);
    const name = names[chance.below(names.length)];
    const file = name === undefined ? undefined : await this.find(dir, name);
    const opened = file && (await this.openFile(file, READ));
    if (opened === undefined) return;
    try {
      await this.read(opened);
    } finally {
      await this.release(opened);
    }
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
      const answer = this.#ask((fs) => fs.write(open.handle, from * CELL, data));
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
      await this.#ask((fs) => fs.setattr(WHO, open.file.ino, { size: to * CELL }, handle));
    });
    open.size = to;
  }

  #data(open: Open, what: { from: number; to: number; isCut: boolean }): DataChange {
    const { model } = this.parts;
    const change = Object.assign(model.begin(this.who()), { ...what, handle: open.handle, opened: open.opened });
    this.note(
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
    const { model, meddler, chance } = this.parts;
    // With something to sync that is too large for the metadata.
    if (!open.file.isLog && chance.happens(0.5)) await this.#put(open, chance.below(open.size + 1), SYNCED);
    await this.#watched(open.file);
    const start = model.moments.next();
    const moment = await this.#storing(open, start, () => this.#ask((fs) => fs.fsync(open.handle)));
    open.file.synced(start, moment);
    meddler.synced();
    this.note(`synced file ${open.file.ino}, asked at ${start}`);
  }

  /** The moment at which it was stored. */
  async #storing(open: Open, start: number, work: () => Promise<void>): Promise<number> {
    const { model, machine } = this.parts;
    try {
      await work();
      const now = { moment: model.moments.next(), ms: machine.nowMs };
      open.file.flushed({ ...this.who(), handle: open.handle }, start, now, model.report);
      this.#changed(open.file);
      return now.moment;
    } catch (error) {
      if (!(error instanceof Died)) await this.#failed(open);
      throw error;
    }
  }

  /** What came by the handle may be lost: the program goes on with another one. */
  async #failed(open: Open): Promise<void> {
    open.file.failed({ ...this.who(), handle: open.handle });
    this.#open = this.#open.filter((other) => other !== open);
    await this.release(open).catch(() => {});
  }

  async #close(open: Open): Promise<void> {
    const { model } = this.parts;
    this.note(`close file ${open.file.ino}`);
    this.#open = this.#open.filter((other) => other !== open);
    await this.#watched(open.file);
    await this.#storing(open, model.moments.next(), async () => this.#ask((fs) => fs.flush(open.handle)));
    await this.release(open);
  }

  #ask<T>(change: (fs: Vfs) => T | Promise<T>): Promise<T> {
    this.parts.meddler.asked(this.parts.machine.host);
    return this.during(change);
  }

  /** Others may look at it now, and have it in their caches then, */
  async #watched(what: Watched): Promise<void> {
    await this.parts.watch.before(this.parts.machine.host, what);
  }

  /** and once more when its change has just been answered. */
  #changed(what: Watched): void {
    this.parts.watch.after(this.parts.machine.host, what);
  }

  // After everything

  async #audit(dir: number): Promise<void> {
    const { model } = this.parts;
    await this.list(dir);
    for (const name of model.namesIn(dir)) {
      const file = await this.find(dir, name);
      const opened = file && (await this.openFile(file, READ));
      if (opened === undefined) continue;
      await this.read(opened);
      await this.release(opened);
    }
  }
}
