/** Locks on ranges of one file, as fcntl(2) and flock(2) have them: pure functions over what is held. */
import type { FileLock } from "../../proto/gen/bigfs/v1/meta.js";

/** FileLock.kind. */
export const LOCK = { read: 0, write: 1, none: 2 } as const;

/** FileLock.end of a lock that reaches to the end of the file, wherever that is. */
export const LOCK_END = Number.MAX_SAFE_INTEGER;

export type HeldLock = Readonly<FileLock>;

/** The first that is in the way of the wanted lock; nothing is in the way of an end. */
export function conflictOf(held: readonly HeldLock[], wanted: HeldLock): HeldLock | undefined {
  if (wanted.kind === LOCK.none) return undefined;
  return held.reduce<HeldLock | undefined>(
    (first, lock) => (isInTheWay(lock, wanted) && !(first !== undefined && first.start <= lock.start) ? lock : first),
    undefined,
  );
}

function isInTheWay(lock: HeldLock, wanted: HeldLock): boolean {
  if (lock.flock !== wanted.flock || lock.owner === wanted.owner) return false;
  return (lock.kind === LOCK.write || wanted.kind === LOCK.write) && overlaps(lock, wanted);
}

/** What is held when the lock is set or ended: of its owner's others, what lies outside of it is left. */
export function withLock(held: readonly HeldLock[], set: HeldLock): HeldLock[] {
  const left = held.flatMap((lock) => (isOwn(lock, set) ? outside(lock, set) : [lock]));
  return set.kind === LOCK.none ? left : joined(left, set);
}

/** Without flock's lock of that owner: flock ends the old one before it tries for another kind. */
export function beforeConversion(held: readonly HeldLock[], wanted: HeldLock): readonly HeldLock[] {
  if (!wanted.flock) return held;
  return held.filter((lock) => !isOwn(lock, wanted) || lock.kind === wanted.kind);
}

/** The lock that ends all of an owner's. */
export function endOf(owner: string, flock: boolean): FileLock {
  return { owner, flock, kind: LOCK.none, start: 0, end: LOCK_END, pid: 0 };
}

function isOwn(a: HeldLock, b: HeldLock): boolean {
  return a.owner === b.owner && a.flock === b.flock;
}

function overlaps(a: HeldLock, b: HeldLock): boolean {
  return a.start <= b.end && b.start <= a.end;
}

function outside(lock: HeldLock, { start, end }: HeldLock): HeldLock[] {
  if (lock.end < start || lock.start > end) return [lock];
  const before = lock.start < start ? [{ ...lock, end: start - 1 }] : [];
  const after = lock.end > end ? [{ ...lock, start: end + 1 }] : [];
  return [...before, ...after];
}

/** Neighbours of one owner and kind become one lock, so that locking byte by byte does not add up. */
function joined(held: readonly HeldLock[], set: HeldLock): HeldLock[] {
  let whole = set;
  const others = held.filter((lock) => {
    const isNext =
      isOwn(lock, whole) && lock.kind === whole.kind && (lock.end + 1 === set.start || set.end + 1 === lock.start);
    if (isNext) whole = { ...whole, start: Math.min(whole.start, lock.start), end: Math.max(whole.end, lock.end) };
    return !isNext;
  });
  return [...others, whole];
}
