import { test } from "tap";
import { parseName, segmentName, snapshotName, snapshotsIn, surplus } from "../../../../daemon/meta/backup/names.js";

const [A, B] = ["a".repeat(16), "b".repeat(16)];
const snapshot = (life: string, seq: number, incarnation = 1) => snapshotName({ incarnation, life, seq });
const log = (life: string, first: number, last: number, incarnation = 1) =>
  segmentName({ incarnation, life, first, last });
const on = (...nodes: string[][]) => new Map(nodes.map((names, n) => [n, names]));
const gone = (held: Map<number, string[]>, keep: number, incarnation = 1) =>
  [...surplus(held, { keep, copies: 2, incarnation })].map(([, names]) => names.sort());

test("names say what they are of, and what is no such name is left alone", (t) => {
  t.match(parseName(snapshot(A, 7)), { kind: "snapshot", incarnation: 1, life: A, first: 7, last: 7 });
  t.match(parseName(log(B, 8, 9, 300)), { kind: "log", incarnation: 300, life: B, first: 8, last: 9 });
  for (const other of ["", "x.log", `${snapshot(A, 7)}.tmp`, `0001.${A}.log`]) t.equal(parseName(other), undefined);
  const files = [snapshot(A, 9), log(A, 9, 9), snapshot(B, 20), snapshot(B, 3, 2)].flatMap((n) => parseName(n) ?? []);
  t.same(
    snapshotsIn(files).map(({ name }) => name),
    [snapshot(B, 3, 2), snapshot(B, 20), snapshot(A, 9)],
  );
  t.end();
});

test("the newest snapshots stay with all of the log behind each; older ones go", (t) => {
  const old = [snapshot(A, 10), log(A, 11, 20)];
  const kept = [log(A, 21, 40), snapshot(A, 30), log(A, 41, 50), snapshot(B, 60), log(B, 61, 70)];
  const all = [...old, ...kept];
  t.same(gone(on(all, all), 2), [old.sort(), old.sort()]);
  t.same(gone(on(all, all), 1), [all.slice(0, 5).sort(), all.slice(0, 5).sort()]);
  t.end();
});

test("nothing goes while there are not as many whole snapshots, each on enough nodes", (t) => {
  const all = [snapshot(A, 10), log(A, 11, 20), snapshot(A, 30)];
  t.same(gone(on(all, all), 3), []);
  t.same(gone(on(all, all.slice(0, 2)), 1), [[], []], "the newest is on one node only");
  t.same(gone(on(all, all, []), 1), [all.slice(0, 2).sort(), all.slice(0, 2).sort(), []]);
  t.end();
});

test("nothing goes when a later incarnation was there: then this metadata is an old copy (D16)", (t) => {
  const all = [snapshot(A, 10), snapshot(A, 30), snapshot(A, 40), log(B, 5, 6, 2)];
  t.same(gone(on(all, all), 1), []);
  t.same(gone(on(all.slice(0, 3), all.slice(0, 3)), 1)[0], all.slice(0, 2).sort());
  t.end();
});
