/** A program that changes files: what it asks for, what it is told, and so what the model knows. */
import type { Chance } from "../helpers/chance.js";
import type { Vfs } from "../../mount/vfs/vfs.js";
import { CELL, cellsOf, readCells, type Cell } from "./cells.js";
import { Died, Eyes, WHO, type EyesParts, type Open } from "./eyes.js";
import type { DataChange } from "./files-model.js";
import { fail } from "./model.js";
import type { Watch, Watched } from "./watch.js";

/** Cells that some files get before they are fsynced. */
const SYNCED = 20;
/** Cells of a file, at most. */
const CELLS_MAX = 600;
/** Cells of a slot. */
const SLOT = 128;
/** Rounds of small writes to a slot in many pieces, while it is put together. */
const ROUNDS = 8;
const ROUND_MS = 1_000;
/** Of fallocate(2): zeros, in a file as long as before. */
const PUNCH = 3;

/** Hears of what a program does, to be in its way just then. */
export interface Meddler {
  /** A change is being asked for. */
  asked(host: string): void;
  /** A file was fsynced. */
  synced(): void;
  /** The client does not reach the metadata daemon. */
  isAlone(host: string): boolean;
}

export interface WriterParts extends EyesParts {
  readonly chance: Chance;
  readonly watch: Watch;
  readonly meddler: Meddler;
  readonly pause: (ms: number) => Promise<void>;
}

type What = Pick<DataChange, "from" | "to" | "isCut" | "isHole" | "copied">;

export class Writer extends Eyes {
  protected open: Open[] = [];

  constructor(
    name: string,
    protected readonly parts: WriterParts,
  ) {
    super(name, parts);
  }

  /** Closes everything. */
  async finish(): Promise<void> {
    while (this.open.length > 0) await this.guarded(() => this.close(this.open[0]!));
  }

  protected override forget(): void {
    this.open = [];
  }

  protected async write(open: Open): Promise<void> {
    const { chance } = this.parts;
    const from = chance.happens(0.5) ? open.size : chance.below(open.size + 1);
    const count = chance.happens(0.2) ? 1 + chance.below(200) : 1 + chance.below(8);
    if (from + count > CELLS_MAX) return this.cut(open);
    return this.put(open, from, count);
  }

  /** At the end, again and again: also when nothing of it can be stored. */
  protected async writeOn(open: Open): Promise<void> {
    const { chance } = this.parts;
    if (open.size > CELLS_MAX) return this.cut(open);
    return this.put(open, open.size, 1 + chance.below(30));
  }

  protected append(open: Open): Promise<void> {
    const { chance } = this.parts;
    return this.put(open, 0, chance.happens(0.1) ? 1 + chance.below(150) : 1 + chance.below(10));
  }

  protected async put(open: Open, from: number, count: number): Promise<void> {
    const { model } = this.parts;
    const change = this.#data(open, { from, to: from + count, isCut: false });
    await this.#changing([open], change, async () => {
      const data = cellsOf(change.id, from, count);
      const answer = this.ask((fs) => fs.write(open.handle, from * CELL, data));
      // It is the program's again as soon as that has returned.
      data.fill(0xdb);
      const written = await answer;
      if (written !== count * CELL) model.report(`${written} bytes of ${count * CELL} were written`);
    });
    open.size = Math.max(open.size, from + count);
  }

  protected async cut(open: Open): Promise<void> {
    const { chance } = this.parts;
    if (chance.happens(0.2) && open.size + 1 < CELLS_MAX) return this.#lengthen(open);
    const to = chance.below(open.size + 1);
    const change = this.#data(open, { from: to, to: Infinity, isCut: true });
    await this.#changing([open], change, async () => {
      const handle = chance.happens(0.7) ? open.handle : undefined;
      await this.ask((fs) => fs.setattr(WHO, open.file.ino, { size: to * CELL }, handle));
    });
    open.size = to;
  }

  /** By a truncation: what is new is a hole. */
  async #lengthen(open: Open): Promise<void> {
    const { chance } = this.parts;
    const to = open.size + 1 + chance.below(Math.min(150, CELLS_MAX - open.size));
    const change = this.#data(open, { from: open.size, to, isCut: false, isHole: true });
    await this.#changing([open], change, async () => {
      await this.ask((fs) => fs.setattr(WHO, open.file.ino, { size: to * CELL }, open.handle));
    });
    open.size = to;
  }

  /** A hole in the middle. */
  protected async punch(open: Open): Promise<void> {
    const { chance } = this.parts;
    if (open.size === 0) return this.write(open);
    const from = chance.below(open.size);
    const to = Math.min(open.size, from + 1 + chance.below(chance.happens(0.3) ? 200 : 10));
    // Also through what is not stored yet.
    if (chance.happens(0.5)) await this.put(open, from, to - from);
    const change = this.#data(open, { from, to, isCut: false, isHole: true });
    await this.#changing([open], change, () =>
      this.ask(async (fs) => fs.fallocate(open.handle, PUNCH, from * CELL, (to - from) * CELL)),
    );
  }

  /** Within the file, or from another one: the same cells stand in two places then. */
  protected async copy(source: Open, target: Open): Promise<void> {
    const { chance, model } = this.parts;
    const from = chance.below(source.size);
    const count = Math.min(source.size - from, 1 + chance.below(chance.happens(0.3) ? 200 : 20));
    const into = chance.below(target.size + 1);
    const overlaps = source === target && Math.abs(from - into) < count;
    // What it copies would have to be guessed.
    if (count <= 0 || overlaps || into + count > CELLS_MAX || !source.file.isCertain(from, from + count)) return;
    const bytes = await this.during((fs) => fs.read(source.handle, from * CELL, count * CELL));
    const cells = readCells(bytes);
    if (cells.length !== count || cells.includes(undefined)) return;
    const change = this.#data(target, { from: into, to: into + count, isCut: false, copied: cells as Cell[] });
    await this.#changing([target, source], change, async () => {
      const [at, to] = [
        { handle: source.handle, off: from * CELL },
        { handle: target.handle, off: into * CELL },
      ];
      const copied = await this.ask((fs) => fs.copyRange(at, to, count * CELL));
      if (copied % CELL !== 0 || copied > count * CELL) model.report(`${copied} bytes were copied`);
      change.to = into + copied / CELL;
    });
    target.size = Math.max(target.size, change.to);
  }

  /** A slot in many pieces; they are put together while it is written to. */
  protected async scatter(open: Open): Promise<void> {
    const { chance, pause } = this.parts;
    const start = SLOT * chance.below(Math.min(3, Math.floor(open.size / SLOT) + 1));
    await this.put(open, start, SLOT);
    await this.flush(open);
    for (let at = 1; at < SLOT; at += 4) await this.put(open, start + at, 1);
    await this.flush(open);
    for (let round = 0; round < ROUNDS && this.open.includes(open); round++) {
      await pause(chance.next() * 2 * ROUND_MS);
      await this.put(open, start + chance.below(SLOT), 1);
      await this.flush(open);
    }
  }

  #data(open: Open, what: What): DataChange {
    const { model } = this.parts;
    const { handle, opened } = open;
    // What was copied may have lost copies before.
    const since = what.copied === undefined ? {} : { startMs: 0 };
    const change = Object.assign(model.begin(this.who()), { ...what, handle, opened, ...since });
    const how = what.isCut ? "cut" : what.isHole === true ? "hole" : what.copied ? "copy" : "write";
    this.note(`${how} ${change.id} at ${change.start}: file ${open.file.ino} ${what.from}-${what.to}`);
    return open.file.add(change);
  }

  async #changing(opened: readonly Open[], change: DataChange, work: () => Promise<void>): Promise<void> {
    const { model } = this.parts;
    try {
      await work();
      model.done(change, { data: true });
    } catch (error) {
      fail(change);
      if (!(error instanceof Died)) for (const open of opened) await this.failed(open);
      throw error;
    }
  }

  protected async sync(open: Open): Promise<void> {
    const { model, meddler, chance } = this.parts;
    // With something to sync that is too large for the metadata.
    if (!open.file.isLog && chance.happens(0.5)) await this.put(open, chance.below(open.size + 1), SYNCED);
    await this.watched(open.file);
    const start = model.moments.next();
    const moment = await this.storing(open, start, () => this.ask((fs) => fs.fsync(open.handle)));
    open.file.synced(start, moment);
    meddler.synced();
    this.note(`synced file ${open.file.ino}, asked at ${start}`);
  }

  /** `lockOwner`: its fcntl locks end with that. */
  protected flush(open: Open, lockOwner?: string): Promise<number> {
    const start = this.parts.model.moments.next();
    return this.storing(open, start, async () => this.ask((fs) => fs.flush(open.handle, lockOwner)));
  }

  /** The moment at which it was stored. */
  protected async storing(open: Open, start: number, work: () => Promise<void>): Promise<number> {
    const { model, machine } = this.parts;
    try {
      await work();
      const now = { moment: model.moments.next(), ms: machine.nowMs };
      open.file.flushed({ ...this.who(), handle: open.handle }, start, now, model.report);
      this.changed(open.file);
      return now.moment;
    } catch (error) {
      if (!(error instanceof Died)) await this.failed(open);
      throw error;
    }
  }

  /** What came by the handle may be lost: the program goes on with another one. */
  protected async failed(open: Open): Promise<void> {
    open.file.failed({ ...this.who(), handle: open.handle });
    this.open = this.open.filter((other) => other !== open);
    await this.release(open).catch(() => {});
  }

  protected async close(open: Open): Promise<void> {
    this.note(`close file ${open.file.ino}`);
    this.open = this.open.filter((other) => other !== open);
    await this.watched(open.file);
    await this.flush(open);
    await this.release(open);
  }

  protected ask<T>(change: (fs: Vfs) => T | Promise<T>): Promise<T> {
    this.parts.meddler.asked(this.parts.machine.host);
    return this.during(change);
  }

  /** Others may look at it now, and have it in their caches then, */
  protected async watched(what: Watched): Promise<void> {
    await this.parts.watch.before(this.parts.machine.host, what);
  }

  /** and once more when its change has just been answered. */
  protected changed(what: Watched): void {
    this.parts.watch.after(this.parts.machine.host, what);
  }
}
