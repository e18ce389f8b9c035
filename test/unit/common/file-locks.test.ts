import fc from "fast-check";
import { test } from "tap";
import { type HeldLock, LOCK, LOCK_END, conflictOf, withLock } from "../../../daemon/common/file-locks.js";

const BYTES = 12;
const owners = ["a", "b"] as const;

const lock = fc
  .record({
    owner: fc.constantFrom(...owners),
    kind: fc.constantFrom(LOCK.read, LOCK.write, LOCK.none),
    from: fc.nat(BYTES - 1),
    to: fc.nat(BYTES),
  })
  .map(({ owner, kind, from, to }): HeldLock => {
    const end = to === BYTES ? LOCK_END : Math.max(from, to);
    return { owner, kind, start: from, end, flock: false, pid: 1 };
  });

/** Of each byte, and of the one behind them all, what each owner holds. */
type Model = Map<string, number>;

const bytesOf = ({ start, end }: HeldLock) =>
  Array.from({ length: BYTES + 1 }, (_, byte) => byte).filter((byte) => byte >= start && byte <= end);

test("ranges of locks are what locking each byte by itself would make", (t) => {
  fc.assert(
    fc.property(fc.array(lock, { maxLength: 30 }), (locks) => {
      let held: readonly HeldLock[] = [];
      const model: Model = new Map();
      for (const wanted of locks) {
        const isBlocked = bytesOf(wanted).some((byte) =>
          owners.some((owner) => {
            const other = model.get(`${owner}${byte}`);
            if (owner === wanted.owner || other === undefined || wanted.kind === LOCK.none) return false;
            return other === LOCK.write || wanted.kind === LOCK.write;
          }),
        );
        if ((conflictOf(held, wanted) !== undefined) !== isBlocked) return false;
        if (isBlocked) continue;
        held = withLock(held, wanted);
        for (const byte of bytesOf(wanted)) {
          if (wanted.kind === LOCK.none) model.delete(`${wanted.owner}${byte}`);
          else model.set(`${wanted.owner}${byte}`, wanted.kind);
        }
        const shown = held.flatMap((one) => bytesOf(one).map((byte) => [`${one.owner}${byte}`, one.kind] as const));
        if (shown.length !== model.size || shown.some(([byte, kind]) => model.get(byte) !== kind)) return false;
      }
      return true;
    }),
    { numRuns: 500 },
  );
  t.end();
});

test("locking byte after byte is one lock, and flock's do not meet fcntl's", (t) => {
  const base = { owner: "a", kind: LOCK.write, flock: false, pid: 1 };
  let held: readonly HeldLock[] = [];
  for (const byte of [0, 2, 4, 3, 1]) held = withLock(held, { ...base, start: byte, end: byte });
  t.same(held, [{ ...base, start: 0, end: 4 }]);
  const flock = { ...base, owner: "b", flock: true, start: 0, end: LOCK_END };
  t.equal(conflictOf(held, flock), undefined);
  held = withLock(held, flock);
  t.equal(conflictOf(held, { ...flock, owner: "c" }), flock);
  t.end();
});
