import { test } from "tap";
import { CELL, cellsOf } from "./cells.js";
import { FileModel, type DataChange } from "./files-model.js";
import { LockModel } from "./lock-model.js";
import { Moments, Register, fail, type Change, type Seer } from "./model.js";

const ME = { client: "c1", life: 1 };
const OTHER = { client: "c2", life: 1 };

/** A file of one program's, and what readers are told of it. */
function lab(isLog = false) {
  const moments = new Moments(() => 0);
  const file = new FileModel(1, isLog);
  const reports: string[] = [];
  const report = (what: string): void => void reports.push(what);
  const write = (from: number, to: number, isCut = false, more: Partial<DataChange> = {}): DataChange => {
    const change = file.add(Object.assign(moments.begin(ME), { from, to, isCut, handle: 1, opened: 0, ...more }));
    change.end = moments.next();
    change.state = "told";
    return change;
  };
  const flush = (): number => {
    const [start, moment] = [moments.next(), moments.next()];
    file.flushed({ ...ME, handle: 1 }, start, { moment, ms: 0 }, report);
    return moment;
  };
  /** What somebody is told who opens the file now and reads these bytes; power cuts have taken what was not fsynced. */
  const read = (bytes: Buffer, who = OTHER, more: { held?: number; lost?: ReadonlySet<number> } = {}): string => {
    const at = { opened: more.held ?? moments.next(), start: moments.next(), end: moments.next() };
    const mayBeLost = ({ isDurable }: Change): boolean => !isDurable;
    file.check(bytes, { ...who, ...at, ...more }, { report, mayBeLost });
    return reports.splice(0).join();
  };
  return { moments, file, reports, write, flush, read };
}

test("bytes that nobody wrote, or that belong elsewhere, are seen", async (t) => {
  const { write, flush, read } = lab();
  const change = write(0, 2);
  flush();
  const good = cellsOf(change.id, 0, 2);
  t.equal(read(good), "");
  const flipped = Buffer.from(good);
  flipped[CELL + 100]! ^= 1;
  t.match(read(flipped), /nobody wrote/);
  t.match(read(cellsOf(77, 0, 2)), /shows write 77/);
  t.match(read(cellsOf(change.id, 1, 1)), /cell 1 of \d+ is at 0/);
  t.match(read(good.subarray(0, 700)), /ends within a cell/);
  t.match(read(Buffer.concat([good.subarray(0, CELL), Buffer.alloc(CELL)])), /zeros/);
});

test("what was flushed must be seen by who opens the file then; what was not, need not", async (t) => {
  const { write, flush, read } = lab();
  const first = write(0, 1);
  flush();
  const second = write(0, 1);
  t.equal(read(cellsOf(first.id, 0, 1)), "");
  t.equal(read(cellsOf(second.id, 0, 1)), "");
  flush();
  t.equal(read(cellsOf(second.id, 0, 1)), "");
  t.match(read(cellsOf(first.id, 0, 1)), /not what it must/);
  t.match(read(Buffer.alloc(0)), /shows the end/);
  write(0, Infinity, true);
  t.equal(read(Buffer.alloc(0)), "");
});

test("zeros are seen where a hole was made, and what was copied where it was copied to", async (t) => {
  const { write, flush, read } = lab();
  const first = write(0, 3);
  flush();
  const good = cellsOf(first.id, 0, 3);
  write(1, 2, false, { isHole: true });
  flush();
  t.match(read(good), /cell 1 shows/);
  const punched = Buffer.from(good).fill(0, CELL, 2 * CELL);
  t.equal(read(punched), "");
  t.match(read(Buffer.alloc(3 * CELL)), /zeros at cell 0 .* no hole/);
  write(1, 2, false, { copied: [{ id: first.id, index: 2 }] });
  flush();
  t.match(read(punched), /cell 1 shows zeros/);
  t.match(read(good), /cell 1 shows/);
  t.equal(read(Buffer.concat([good.subarray(0, CELL), good.subarray(2 * CELL), good.subarray(2 * CELL)])), "");
});

test("whoever gets a lock sees what was told under it before, and nothing more comes of it", async (t) => {
  const { file, moments, write, read } = lab();
  const first = write(0, 1);
  file.unlocked({ ...ME, handle: 1 }, moments.next(), moments.next());
  t.equal(read(Buffer.alloc(0)), "", "what is missing may be lost");
  t.match(first.missed, /shows the end/, "then the next flush must say so");
  const late = write(0, 1);
  fail(late);
  t.equal(read(cellsOf(late.id, 0, 1)), "");
  file.settled(OTHER, moments.next());
  const next = file.add(Object.assign(moments.begin(OTHER), { from: 0, to: 1, isCut: false, handle: 2, opened: 0 }));
  next.end = moments.next();
  next.state = "told";
  t.equal(read(cellsOf(next.id, 0, 1)), "");
  t.equal(next.missed, undefined);
  read(cellsOf(late.id, 0, 1));
  t.match(next.missed, /cell 0 shows/, "a change of whoever had the lock before comes too late");
});

test("of two that have one lock at most one can go on", async (t) => {
  const [locks, file, reports] = [new LockModel(), new FileModel(1, false), [] as string[]];
  const report = (what: string): void => void reports.push(what);
  const hold = (name: string, granted: number, isExclusive: boolean) =>
    locks.granted(file, { name, granted, isExclusive });
  const reader = hold("a", 1, false);
  const writer = hold("b", 3, true);
  locks.worked(reader, 2, report);
  locks.worked(writer, 4, report);
  t.same(reports, [], "the reader has done nothing since");
  locks.worked(reader, 5, report);
  t.match(reports.splice(0).join(), /a and b have one lock since 3/);
  locks.ended(file, writer);
  for (const other of [hold("c", 6, false), hold("d", 7, false)]) locks.worked(other, 8, report);
  t.same(reports, [], "readers share it");
});

test("what may be lost may be seen or not; what was fsynced is not lost", async (t) => {
  const { file, moments, write, flush, read } = lab();
  const first = write(0, 1);
  file.synced(moments.next(), flush());
  const second = write(0, 1);
  for (const change of [first, second]) fail(change);
  t.equal(read(cellsOf(first.id, 0, 1)), "");
  t.equal(read(cellsOf(second.id, 0, 1)), "");
  t.match(read(Buffer.alloc(0)), /shows the end/);
});

test("what a reader of the same client misses is lost, and a flush that does not say so is wrong", async (t) => {
  const { write, flush, read, reports } = lab();
  write(0, 1);
  t.equal(read(Buffer.alloc(0), ME), "", "the upload may have failed");
  flush();
  t.match(reports.join(), /nobody was told/);
});

test("appends are there once each, whole, and in order", async (t) => {
  const { write, flush, read } = lab(true);
  const [one, two] = [write(0, 2), write(0, 1)];
  flush();
  const [a, b] = [cellsOf(one.id, 0, 2), cellsOf(two.id, 0, 1)];
  t.equal(read(Buffer.concat([a, b])), "");
  t.match(read(Buffer.concat([b, a])), /out of order/);
  t.match(read(a), /missing/);
  t.match(read(Buffer.concat([a, b, b])), /twice/);
  t.match(read(Buffer.concat([a.subarray(0, CELL), b])), /in part/);
});

test("a cell that cannot be read is excused by what was written there and not fsynced, unless it was replaced", async (t) => {
  const { file, moments, write, flush, read } = lab();
  const first = write(0, 2);
  file.synced(moments.next(), flush());
  const second = write(1, 3);
  flush();
  const content = (lost: readonly number[]): Buffer => {
    const bytes = Buffer.concat([cellsOf(first.id, 0, 1), cellsOf(second.id, 1, 2)]);
    for (const at of lost) bytes.fill(0, at * CELL, (at + 1) * CELL);
    return bytes;
  };
  t.equal(read(content([1, 2]), OTHER, { lost: new Set([1, 2]) }), "");
  t.match(read(content([0]), OTHER, { lost: new Set([0]) }), /cell 0 of 3 cannot be read/);
  write(1, 2);
  file.synced(moments.next(), flush());
  t.match(read(content([1]), OTHER, { lost: new Set([1]) }), /cell 1 of 3 cannot be read/);
});

test("a log that cannot be read in part has all that is certain, and lacks no more than may be lost", async (t) => {
  const { file, moments, write, flush, read } = lab(true);
  const first = write(0, 1);
  file.synced(moments.next(), flush());
  write(0, 2);
  flush();
  const log = Buffer.concat([cellsOf(first.id, 0, 1), Buffer.alloc(2 * CELL)]);
  t.equal(read(log, OTHER, { lost: new Set([1, 2]) }), "");
  t.match(read(log.fill(0), OTHER, { lost: new Set([0, 1, 2]) }), /2 may be lost.*what is certain is missing/);
});

test("while somebody else has the file open, what was answered is seen", async (t) => {
  const { moments, write, read, reports } = lab();
  const held = moments.next();
  const change = write(0, 1);
  t.equal(read(cellsOf(change.id, 0, 1), OTHER, { held }), "");
  t.equal(read(Buffer.alloc(0), OTHER), "", "by who opens it now, not before it is flushed");
  t.equal(change.missed, undefined);
  read(Buffer.alloc(0), OTHER, { held });
  t.match(change.missed, /shows the end/, "then it is lost, and the next flush must say so");
  t.same(reports, []);
});

test("what somebody of another session has seen is durable", async (t) => {
  const moments = new Moments(() => 0);
  const name = new Register(0);
  const change = moments.begin(ME);
  name.write(change, 5);
  const asked = (who: Seer) => ({ ...who, start: moments.next(), end: moments.next() });
  name.seen(5, asked(ME));
  fail(change);
  t.ok(name.allows(0, asked(OTHER)), "seen by its own session alone it may go with it");
  name.seen(5, asked(OTHER));
  t.notOk(name.allows(0, asked(OTHER)));
  t.ok(name.allows(5, asked(OTHER)));
});

test("a name leads where it led at some moment of the question", async (t) => {
  const moments = new Moments(() => 0);
  const name = new Register(0);
  const set = (value: number) => {
    const change = moments.begin(ME);
    name.write(change, value);
    change.end = moments.next();
    change.state = "stored";
    return change;
  };
  const asked = () => ({ start: moments.next(), end: moments.next() });
  set(5);
  t.ok(name.allows(5, asked()));
  t.notOk(name.allows(0, asked()));
  const early = asked();
  set(6);
  t.ok(name.allows(5, early));
  t.notOk(name.allows(6, early), "not before it was asked for");
  t.notOk(name.allows(5, asked()));
  const failed = set(7);
  fail(failed);
  t.ok(name.allows(6, asked()));
  t.ok(name.allows(7, asked()));
  t.notOk(name.allows(5, asked()));
});
