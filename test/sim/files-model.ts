/** What files may hold. See model.ts for what a change and a moment are. */
import { CELL, ZERO, readCells, type Cell } from "./cells.js";
import { endOf as endOfChange, type Change, type Report, type Seer } from "./model.js";

/** A write of cells from..to, or a truncation to `from` cells (`isCut`). */
export interface DataChange extends Change {
  readonly from: number;
  to: number;
  readonly isCut: boolean;
  /** It leaves zeros there. */
  readonly isHole?: boolean;
  /** These cells, written elsewhere, stand there then. */
  readonly copied?: readonly Cell[];
  /** The handle that it came by. */
  readonly handle: number;
  /** When that was opened. */
  readonly opened: number;
  /** The lock under which it was written was given up, and that was answered. */
  released?: number;
  /** It has happened by then, or never does. */
  over?: number;
  /** A reader on the same client did not see it: then it is lost, and the next flush must say so. */
  missed?: string;
}

export interface Reading extends Seer {
  /** When the file was opened, the reading was asked for and answered. */
  readonly opened: number;
  readonly start: number;
  readonly end: number;
  /** When it was open; Infinity: the session has been given up since. */
  readonly held?: number;
  /** Cells that cannot be read. */
  readonly lost?: ReadonlySet<number>;
}

/** What a verdict on a file needs of the rest of the model. */
export interface Judge {
  readonly report: Report;
  mayBeLost(change: Change): boolean;
}

export class FileModel {
  readonly changes: DataChange[] = [];
  /** Some of its bytes may have been lost and others been written behind them since. */
  mayHaveHoles = false;

  constructor(
    readonly ino: number,
    /** Appended to by everybody; otherwise written by one program alone. */
    readonly isLog: boolean,
  ) {}

  /** Whether there is no doubt what has become of whatever was written there. */
  isCertain(from: number, to: number): boolean {
    const there = this.changes.filter((change) => change.from < to && from < change.to);
    return !this.mayHaveHoles && there.every(({ state }) => state === "told" || state === "stored");
  }

  add(change: DataChange): DataChange {
    if (this.changes.some(({ state }) => state === "maybe" || state === "risk")) this.mayHaveHoles = true;
    this.changes.push(change);
    return change;
  }

  /** The handle was flushed, asked for at `start`; what was told by then is where others see it. */
  flushed(
    by: Seer & { readonly handle: number },
    start: number,
    now: { readonly moment: number; readonly ms: number },
    report: Report,
  ) {
    for (const change of this.changes) {
      if (change.client !== by.client || change.life !== by.life || change.handle !== by.handle) continue;
      if ((change.state !== "told" && change.state !== "risk") || change.end > start) continue;
      change.state = "stored";
      change.stored = now.moment;
      change.storedMs = now.ms;
      if (change.missed !== undefined) report(`file ${this.ino} was flushed, and nobody was told: ${change.missed}`);
    }
  }

  /** A lock was given up, asked for at `start`: whoever gets it next sees what was told by then, or the next flush fails. */
  unlocked(by: Seer & { readonly handle: number }, start: number, moment: number): void {
    for (const change of this.changes) {
      const isOwn = change.client === by.client && change.life === by.life && change.handle === by.handle;
      if (isOwn && change.state === "told" && change.end < start) change.released ??= moment;
    }
  }

  /** Somebody has had a lock since that moment, under which alone others change it: what they did is done, or never will be. */
  settled(by: Seer, moment: number): void {
    for (const change of this.changes) {
      const isOwn = change.client === by.client && change.life === by.life;
      if (!isOwn && change.start < moment) change.over ??= moment;
    }
  }

  /** Everything that was stored when fsync was asked for is on disks, and what was stored with it, at that moment. */
  synced(start: number, moment: number): void {
    for (const change of this.changes)
      if (change.state === "stored" && (change.stored < start || change.stored === moment)) change.isDurable = true;
  }

  /** The handle was told of an error: what came by it and is not stored may be lost. */
  failed(by: Seer & { readonly handle: number }): void {
    for (const change of this.changes) {
      if (change.client !== by.client || change.life !== by.life || change.handle !== by.handle) continue;
      if (change.state === "told" || change.state === "risk") change.state = "maybe";
    }
  }

  /** Where pieces of so many cells begin that no change tells apart: what excuses one of their cells excuses all. */
  pieces(cells: number): number[] {
    const edges = this.changes.flatMap(({ from, to }) => [from, to]).filter((at) => at < cells);
    const starts = this.isLog ? Array.from({ length: cells }, (_, at) => at) : [0, ...edges];
    return [...new Set(starts)].sort((a, b) => a - b);
  }

  /** Judges the whole content, from its start to its end. */
  check(bytes: Buffer, reading: Reading, judge: Judge): void {
    const { report } = judge;
    if (bytes.length % CELL !== 0) report(`file ${this.ino} ends within a cell: ${bytes.length} bytes`);
    const cells = readCells(bytes);
    const unknown = cells.indexOf(undefined);
    if (unknown >= 0) report(`file ${this.ino}: nobody wrote what stands at ${unknown * CELL}`);
    else if (!this.isLog) this.#checkCells(cells as Cell[], reading, judge);
    else if (reading.lost !== undefined && reading.lost.size > 0) this.#checkLostLog(cells as Cell[], reading, judge);
    else this.#checkLog(cells as Cell[], reading, report);
  }

  #checkCells(cells: readonly Cell[], reading: Reading, judge: Judge): void {
    const { report } = judge;
    const last = Math.max(cells.length, ...this.changes.map(({ from, to, isCut }) => (isCut ? from : to)));
    const edges = new Set(this.changes.flatMap(({ from, to }) => [from, to]));
    let covering: readonly DataChange[] = [];
    for (let at = 0; at < last; at++) {
      const cell = cells[at];
      if (edges.has(at)) covering = this.changes.filter(({ from, to }) => from <= at && at < to);
      if (reading.lost?.has(at) === true) {
        if (!covering.some((change) => judge.mayBeLost(change) && !isReplaced(change, covering, reading)))
          report(`file ${this.ino}: cell ${at} of ${cells.length} cannot be read: ${this.#tell(covering)}`);
        continue;
      }
      const isGone = cell === undefined || (cell.id === ZERO && this.mayHaveHoles);
      const shown = covering.filter((change) => change.start <= reading.end && leaves(change, at, cell));
      if (cell?.id === ZERO && !isGone && shown.length === 0) {
        return report(
          `file ${this.ino}: zeros at cell ${at} of ${cells.length} that are no hole: ${this.#tell(covering)}`,
        );
      }
      if (!isGone && cell.index !== at && shown.length === 0)
        return report(`file ${this.ino}: cell ${cell.index} of ${cell.id} is at ${at}`);
      const cuts = isGone ? covering.filter(({ isCut, start }) => isCut && start <= reading.end) : [];
      const seen = [...(isGone ? [-1] : []), ...[...shown, ...cuts].map(endOf)];
      const newer = seen.map((since) => covering.filter((other) => other.start > since && sees(reading, other)));
      if (newer.some((changes) => changes.length === 0)) continue;
      const what = cell === undefined ? "the end" : cell.id === ZERO ? "zeros" : `write ${cell.id}`;
      const detail = `file ${this.ino}: cell ${at} shows ${what}, not what it must: ${this.#tell(covering)}`;
      const lost = newer.find((changes) => changes.every(({ state }) => state === "told"));
      if (lost === undefined) return report(detail);
      for (const change of lost) change.missed ??= detail;
    }
  }

  /** Records one behind the other, each at most once; those that were lost in part only ever miss their end. */
  #checkLog(cells: readonly Cell[], reading: Reading, report: Report): void {
    const seen: DataChange[] = [];
    for (let at = 0; at < cells.length;) {
      const { id } = cells[at]!;
      const change = this.changes.find((other) => other.id === id);
      if (change === undefined)
        return report(`log ${this.ino}: cell ${at} shows write ${id}, which is none of its own`);
      if (seen.includes(change)) return report(`log ${this.ino}: append ${id} is there twice`);
      const length = change.to - change.from;
      let have = 0;
      while (have < length && cells[at + have]?.id === id && cells[at + have]?.index === have) have++;
      const mayBeShort = !sees(reading, change);
      if (have < length && !mayBeShort)
        return report(`log ${this.ino}: append ${id} is there in part: ${this.#tell([change])}`);
      seen.push(change);
      at += Math.max(1, have);
    }
    for (const change of this.changes) {
      if (seen.includes(change) || !sees(reading, change)) continue;
      const detail = `log ${this.ino}: an append is missing: ${this.#tell([change])}`;
      if (change.state !== "told") return report(detail);
      change.missed ??= detail;
    }
    seen.forEach((change, i) => {
      const early = seen.slice(i + 1).find((other) => isBefore(other, change));
      if (early !== undefined) report(`log ${this.ino}: appends are out of order: ${this.#tell([change, early])}`);
    });
  }

  /** A log that cannot be read in part: what is certain is there, and no more is lost than may be. */
  #checkLostLog(cells: readonly Cell[], reading: Reading, judge: Judge): void {
    const sizeOf = ({ from, to }: DataChange): number => to - from;
    const losable = this.changes.filter((change) => judge.mayBeLost(change)).reduce((sum, one) => sum + sizeOf(one), 0);
    const { size } = reading.lost ?? new Set();
    if (size > losable) judge.report(`log ${this.ino}: ${size} cells cannot be read, ${losable} may be lost`);
    for (const change of this.changes) {
      if (!sees(reading, change) || judge.mayBeLost(change)) continue;
      const have = new Set(cells.filter(({ id }) => id === change.id).map(({ index }) => index)).size;
      if (have < sizeOf(change)) judge.report(`log ${this.ino}: what is certain is missing: ${this.#tell([change])}`);
    }
  }

  #tell(changes: readonly DataChange[]): string {
    const told = changes.map(
      ({ id, client, isCut, isHole, copied, from, to, start, end, stored, state, isDurable }) => {
        const what = `${isCut ? "cut" : isHole === true ? "hole" : copied ? "copy" : "write"} ${id} of ${client} ${from}-${to}`;
        return `${what} moments ${start}-${end} stored ${stored} ${state}${isDurable ? " durable" : ""}`;
      },
    );
    return told.slice(-4).join("; ");
  }
}

function endOf(change: DataChange): number {
  return Math.min(endOfChange(change), change.over ?? Infinity);
}

/** Whether the reader must see that it has happened, or that it was lost before it was stored. */
function sees(reading: Reading, change: DataChange): boolean {
  const isOwn = change.client === reading.client && change.life === reading.life;
  if (isOwn && change.state === "told") return change.end < reading.start;
  // While somebody else has the file open a write is answered when all can see it.
  const isShared = reading.held !== undefined && change.start > reading.held;
  if (isShared && change.state === "told") return change.end < reading.start;
  if (change.state === "told" && change.released !== undefined) return change.released < reading.opened;
  if (change.state !== "stored") return false;
  if (isShared) return change.end < reading.start;
  return isOwn ? change.end < reading.start : change.stored < reading.opened;
}

/** Whether that reader must see something newer instead. */
function isReplaced(change: DataChange, by: readonly DataChange[], reading: Reading): boolean {
  return by.some((other) => other.start > endOf(change) && sees(reading, other));
}

/** Whether that change left that cell there; the end of the file is left by none. */
function leaves({ id, isCut, isHole, copied, from }: DataChange, at: number, cell: Cell | undefined): boolean {
  if (isCut || cell === undefined) return false;
  const left = isHole === true ? { id: ZERO, index: 0 } : (copied?.[at - from] ?? { id, index: at });
  return left.id === cell.id && left.index === cell.index;
}

/** Whether `one` was certainly appended before the other. */
function isBefore(one: DataChange, other: DataChange): boolean {
  const isOwn = one.client === other.client && one.life === other.life;
  return isOwn ? endOf(one) < other.start : one.state === "stored" && one.stored < other.opened;
}
