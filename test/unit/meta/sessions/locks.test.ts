import { test } from "tap";
import { LOCK } from "../../../../daemon/common/file-locks.js";
import { Locks } from "../../../../daemon/meta/locks.js";
import { FsError } from "../../../../proto/errno.js";
import type { FileLock } from "../../../../proto/gen/bigfs/v1/meta.js";

const INO = 7;

function lock(kind: number, owner: string): FileLock {
  return { owner, kind, start: 0, end: Number.MAX_SAFE_INTEGER, pid: 1, flock: false };
}

test("a lock that is granted in one turn with the unlock that frees the file is in the way of later ones", async (t) => {
  const held = new Map<number, FileLock[]>();
  const locks: Locks = new Locks({
    // Sessions give up what is delegated to them, and say what they have.
    wanted: (session) =>
      setImmediate(() => locks.declare(session, { ino: INO, locks: held.get(session) ?? [], delegated: false })),
    freed: () => undefined,
  });
  locks.declare(1, { ino: INO, locks: [lock(LOCK.write, "p")], delegated: false });
  const unlocked = locks.set({ id: 1, isEnded: false }, INO, lock(LOCK.none, "p"), false);
  const ask = async (id: number, owner: string): Promise<void> => {
    await locks.set({ id, isEnded: false }, INO, lock(LOCK.write, owner), false);
    held.set(id, [...(held.get(id) ?? []), lock(LOCK.write, owner)]);
  };
  await Promise.all([unlocked, ask(2, "q")]);
  await t.rejects(ask(1, "r"), FsError);
});
