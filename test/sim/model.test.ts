import { test } from "tap";
import { CELL, cellsOf } from "./cells.js";
import { FileModel, type DataChange } from "./files-model.js";
import { Moments, Register, fail } from "./model.js";

const ME = { client: "c1", life: 1 };
const OTHER = { client: "c2", life: 1 };

/** A file of one program's, and what readers are told of it. */
function lab(isLog = false) {
  const moments = new Moments(() => 0);
  const file = new FileModel(1, isLog);
  const reports: string[] = [];
  const report = (what: string): void => void reports.push(what);
  const write = (from: number, to: number, isCut = false): DataChange => {
    const change = file.add(Object.assign(moments.begin(ME), { from, to, isCut, handle: 1, opened: 0 }));
    change.end = moments.next();
    change.state = "told";
    return change;
  };
  const flush = (): number => {
    const [start, moment] = [moments.next(), moments.next()];
    file.flushed({ ...ME, handle: 1 }, start, { moment, ms: 0 }, report);
    return moment;
  };
  /** What somebody is told who opens the file now and reads these bytes. */
  const read = (bytes: Buffer, who = OTHER): string => {
    const at = { opened: moments.next(), start: moments.next(), end: moments.next() };
    file.check(bytes, { ...who, ...at }, { report, mayBeLost: () => false });
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
