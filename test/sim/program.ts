/** A program on a client: does one thing after the other with files, by chance, and compares what it sees with the model. */
import type { OpenFlags } from "../../mount/vfs/filesystem.js";
import { FsError, type Errno } from "../../proto/errno.js";
import { READ, WHO, XATTR, bytes, type Open } from "./eyes.js";
import type { FileModel } from "./files-model.js";
import { UNKNOWN, fail, type Asked, type Change, type Register, type Written } from "./model.js";
import { ABSENT } from "./tree-model.js";
import { Writer, type WriterParts } from "./writer.js";

const FILE = 0o100644;
const WRITE: OpenFlags = { ...READ, write: true };
const APPEND: OpenFlags = { ...WRITE, append: true };

export interface Folders {
  /** What only one program changes, by program. */
  readonly own: number;
  /** What everybody changes. */
  readonly shared: number;
  /** The own ones of all. */
  readonly all: readonly number[];
}

/** A change of names of a folder, or of an attribute. */
interface Naming {
  readonly what: string;
  /** What each of them leads to then. */
  readonly writes: readonly (readonly [register: Register, value: number])[];
  /** The answer that says that nothing was done, and what it has shown. */
  readonly refusal: Errno;
  readonly refused: (asked: Asked) => void;
}

export class Program extends Writer {
  constructor(
    name: string,
    parts: WriterParts,
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

  /** Everything is whole again: nothing may fail any more. */
  async audit(): Promise<void> {
    this.attach();
    for (const dir of [...this.folders.all, this.folders.shared]) await this.guarded(() => this.#audit(dir));
  }

  #one(dice: number): Promise<void> {
    const { chance, meddler, machine } = this.parts;
    const own = this.open.filter(({ file }) => !file.isLog);
    const open = this.open[chance.below(this.open.length)];
    const file = own[chance.below(own.length)];
    if (file !== undefined && meddler.isAlone(machine.host) && chance.happens(0.5)) return this.writeOn(file);
    if (dice < 16 || (open === undefined && dice < 55)) return this.#openSome();
    if (dice < 24 && open?.file.isLog === true) return this.append(open);
    if (dice < 20 && file !== undefined) return this.punch(file);
    if (dice < 24 && file !== undefined) return this.copy(own[chance.below(own.length)]!, file);
    if (dice < 25 && file !== undefined) return this.scatter(file);
    if (open !== undefined && dice < 40) return open.file.isLog ? this.append(open) : this.write(open);
    if (open !== undefined && dice < 44) return open.file.isLog ? this.append(open) : this.cut(open);
    if (open !== undefined && dice < 52) return this.sync(open);
    if (open !== undefined && dice < 60) return this.close(open);
    if (dice < 66) return this.list(chance.happens(0.5) ? this.folders.shared : this.#anyFolder());
    if (dice < 82) return this.#readSome();
    if (dice < 84 && file !== undefined) return this.#setAttribute(file.file);
    if (dice < 90) return this.#removeSome();
    if (dice < 93) return this.#linkSome();
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
    if (this.open.length >= 3) return this.close(this.open[0]!);
    const kind = chance.below(10);
    if (kind < 6) return this.#openOwn(own, this.#ownName());
    if (kind < 8) return this.#openLog(shared, `log-${chance.below(2)}`);
    return this.#makeCommon(shared, this.#commonName());
  }

  /** Makes a file that only this program writes, or goes on with it. */
  async #openOwn(dir: number, name: string): Promise<void> {
    const { model } = this.parts;
    if (this.open.some(({ file }) => file.ino === model.name(dir, name).latest)) return;
    const made = await this.#make(dir, name, { ...WRITE, exclusive: true }, false);
    if (made !== undefined) return void this.open.push(made);
    const found = await this.find(dir, name);
    if (found === undefined || this.open.some(({ file }) => file === found)) return;
    const opened = await this.openFile(found, WRITE);
    if (opened === undefined) return;
    this.open.push(opened);
    const size = await this.read(opened);
    opened.size = size ?? 0;
    if (size === undefined) await this.close(opened);
  }

  /** Opens a file that everybody appends to. */
  async #openLog(dir: number, name: string): Promise<void> {
    const made = await this.#make(dir, name, { ...APPEND, exclusive: true }, true);
    if (made !== undefined) return void this.open.push(made);
    const found = await this.find(dir, name);
    if (found === undefined) return;
    const opened = await this.openFile(found, APPEND);
    if (opened !== undefined) this.open.push(opened);
  }

  async #makeCommon(dir: number, name: string): Promise<void> {
    const made = await this.#make(dir, name, { ...WRITE, exclusive: true }, false);
    if (made === undefined) return;
    await this.write(made);
    await this.close(made);
  }

  /** Undefined: the name is there already. */
  async #make(
    dir: number,
    name: string,
    flags: OpenFlags & { exclusive: boolean },
    isLog: boolean,
  ): Promise<Open | undefined> {
    const { model } = this.parts;
    const register = model.name(dir, name);
    let made: Open | undefined;
    const naming = { what: `make ${name} in ${dir}`, writes: [[register, UNKNOWN]] as const };
    await this.#naming({ dir, names: [name] }, { ...naming, ...this.#taken(dir, name) }, async (change, [written]) => {
      const found = await this.ask((fs) => fs.create(WHO, dir, bytes(name), FILE, 0, flags));
      const ino = found.attr?.ino ?? ABSENT;
      written!.value = ino;
      model.done(change);
      made = this.opened(found.handle, model.made(ino, isLog), model.moments.next());
    });
    return made;
  }

  async #removeSome(): Promise<void> {
    const { chance, model } = this.parts;
    const { own, shared } = this.folders;
    const [dir, name] = chance.happens(0.6) ? [own, this.#ownName()] : [shared, this.#commonName()];
    const naming = { what: `remove ${name} in ${dir}`, writes: [[model.name(dir, name), ABSENT]] as const };
    await this.#naming({ dir, names: [name] }, { ...naming, ...this.#absent(dir, name) }, async () =>
      this.ask((fs) => fs.unlink(WHO, dir, bytes(name))),
    );
  }

  /** Over another one, as programs do that save a file; or two take each other's place. */
  async #renameSome(): Promise<void> {
    const { model, chance } = this.parts;
    const { own: dir } = this.folders;
    const [from, into] = [this.#ownName(), this.#ownName()];
    if (from === into) return;
    const [source, target] = [model.name(dir, from), model.name(dir, into)];
    const [ino, other] = [source.certain, target.certain];
    // Which file it moves would have to be guessed; and of two names of one file neither goes.
    if (ino === undefined || ino === other || (other === undefined && target.latest === ino)) return;
    const exchange = other !== undefined && other > ABSENT && chance.happens(0.3);
    const writes = [[source, exchange ? other : ABSENT] as const, [target, ino] as const];
    const naming = { what: `rename ${from} to ${into} in ${dir}`, writes, ...this.#absent(dir, from) };
    await this.#naming({ dir, names: [from, into] }, naming, async () => {
      const move = { fromDir: dir, fromName: bytes(from), intoDir: dir, intoName: bytes(into) };
      await this.ask((fs) => fs.rename(WHO, { ...move, noReplace: false, exchange }));
    });
  }

  /** A second name for a file. */
  async #linkSome(): Promise<void> {
    const { model } = this.parts;
    const { own: dir } = this.folders;
    const [from, into] = [this.#ownName(), this.#ownName()];
    const ino = model.name(dir, from).certain ?? ABSENT;
    if (from === into || ino <= ABSENT) return;
    const naming = { what: `link ${from} to ${into} in ${dir}`, writes: [[model.name(dir, into), ino]] as const };
    await this.#naming({ dir, names: [into] }, { ...naming, ...this.#taken(dir, into) }, async () => {
      await this.ask((fs) => fs.link(WHO, ino, dir, bytes(into)));
    });
  }

  #taken(dir: number, name: string): Pick<Naming, "refusal" | "refused"> {
    const { model } = this.parts;
    const register = model.name(dir, name);
    const refused = ({ start, end }: Asked): void => {
      if (!register.mayBe(start, end))
        model.report(`${name} in ${dir} exists, and nobody made it: ${String(register)}`);
    };
    return { refusal: "EEXIST", refused };
  }

  #absent(dir: number, name: string): Pick<Naming, "refusal" | "refused"> {
    const refused = (asked: Asked): void => this.parts.model.seesName(dir, name, ABSENT, { ...this.who(), ...asked });
    return { refusal: "ENOENT", refused };
  }

  /** Asks for a change of names or attributes, while others look at that. */
  async #naming(
    seen: Parameters<Program["watched"]>[0],
    { what, writes, refusal, refused }: Naming,
    work: (change: Change, written: readonly Written[]) => Promise<void>,
  ): Promise<void> {
    const { model } = this.parts;
    await this.watched(seen);
    const change = model.begin(this.who());
    this.note(`${what} at ${change.start}`);
    const written = writes.map(([register, value]) => register.write(change, value));
    try {
      await work(change, written);
      model.done(change);
      this.changed(seen);
    } catch (error) {
      if (error instanceof FsError && error.errno === refusal) {
        for (const [register] of writes) register.refused(change);
        return refused({ start: change.start, end: model.moments.next() });
      }
      fail(change);
      throw error;
    }
  }

  /** Sets an extended attribute, or removes it. */
  async #setAttribute(file: FileModel): Promise<void> {
    const { model, chance } = this.parts;
    const { ino } = file;
    const register = model.attribute(ino);
    const value = chance.happens(0.3) ? ABSENT : model.moments.next();
    const refused = (asked: Asked): void => model.seesAttribute(ino, ABSENT, { ...this.who(), ...asked });
    const what = `attribute ${value} of file ${ino}`;
    await this.#naming(file, { what, writes: [[register, value]], refusal: "ENODATA", refused }, async () => {
      if (value === ABSENT) return this.ask((fs) => fs.removexattr(WHO, ino, XATTR));
      const set = { name: XATTR, value: Buffer.from(String(value)), flags: 0, killSgid: false };
      return this.ask((fs) => fs.setxattr(WHO, ino, set));
    });
  }

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
