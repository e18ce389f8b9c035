import fc from "fast-check";
import { test } from "tap";
import { FsError } from "../../../../proto/errno.js";
import type { FileLock } from "../../../../proto/gen/bigfs/v1/meta.js";
import { type HeldLock, LOCK, LOCK_END, conflictOf, endOf, withLock } from "../../../../daemon/common/file-locks.js";
import { Lab, type Mount, WHO, flags, isWaiting, runs } from "./lab.js";

const WHOLE = { start: 0, end: LOCK_END };

function lock(owner: string, kind: number, range: { start: number; end: number } = WHOLE): FileLock {
  return { owner, kind, flock: false, pid: 1, ...range };
}

/** The file of the first mount, opened on all of them. */
async function opened(lab: Lab, mounts: readonly Mount[]): Promise<number[]> {
  const [first, ...others] = mounts;
  if (first === undefined) return [];
  const { ino, handle } = await lab.create(first, "f");
  const more = others.map(async ({ vfs }) => (await lab.end(vfs.open(WHO, ino, flags()))).handle);
  return [handle, ...(await Promise.all(more))];
}

const step = fc.record({
  mount: fc.nat(2),
  owner: fc.constantFrom("x", "y"),
  kind: fc.constantFrom(LOCK.read, LOCK.write, LOCK.none),
  from: fc.nat(5),
  to: fc.nat(5),
});

test("three mounts hold no locks that are in each other's way, and get every one that is free", async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.array(step, { maxLength: 25 }), async (seed, steps) => {
      const lab = new Lab({ seed });
      const mounts = [lab.mount(), lab.mount(), lab.mount()];
      const handles = await opened(lab, mounts);
      let held: readonly HeldLock[] = [];
      for (const { mount, owner, kind, from, to } of steps) {
        const wanted = lock(owner, kind, { start: Math.min(from, to), end: Math.max(from, to) });
        const asAll = { ...wanted, owner: `${mount}${owner}` };
        const errno = await lab.errno(() => mounts[mount]?.vfs.setLock(handles[mount] ?? 0, wanted));
        const expected = conflictOf(held, asAll) === undefined ? "" : "EAGAIN";
        if (errno !== expected) throw new Error(`${JSON.stringify(asAll)}: ${errno}, not ${expected}`);
        if (errno === "") held = withLock(held, asAll);
      }
    }),
    runs(150),
  );
  t.pass();
});

test("a mount that is alone with the locks of a file asks for the first one only", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const [mine = 0, other = 0] = await opened(lab, [a, b]);
  for (let n = 0; n < 10; n++) {
    await lab.end(a.vfs.setLock(mine, lock("x", LOCK.write)));
    await lab.end(a.vfs.setLock(mine, lock("x", LOCK.none)));
  }
  t.equal(a.meta.calls.get("lock"), 1);
  await lab.end(b.vfs.setLock(other, lock("x", LOCK.write)));
  t.equal(await lab.errno(() => a.vfs.setLock(mine, lock("x", LOCK.write))), "EAGAIN");
  t.match(await lab.end(a.vfs.getLock(mine, lock("x", LOCK.write))), { kind: LOCK.write, pid: 0 });
});

for (const decides of ["the mount", "the daemon"]) {
  test(`what was written under a lock is read under the next one, on another mount (${decides} decides)`, async (t) => {
    const lab = new Lab();
    const [a, b] = [lab.mount(), lab.mount()];
    const [mine = 0, other = 0] = await opened(lab, [a, b]);
    // With a lock of another mount on the file, nobody decides alone.
    const elsewhere = lock("z", LOCK.read, { start: 100, end: 100 });
    if (decides === "the daemon") await lab.end(b.vfs.setLock(other, elsewhere));
    const first = { start: 0, end: 9 };
    for (const text of ["one", "two", "three"]) {
      await lab.end(a.vfs.setLock(mine, lock("x", LOCK.write, first)));
      await lab.end(a.vfs.write(mine, 0, Buffer.from(text)));
      await lab.end(a.vfs.setLock(mine, lock("x", LOCK.none, first)));
      await lab.end(b.vfs.setLock(other, lock("x", LOCK.read, first)));
      t.equal((await lab.end(b.vfs.read(other, 0, text.length))).toString(), text);
      await lab.end(b.vfs.setLock(other, lock("x", LOCK.none, first)));
    }
  });
}

test("whoever waits gets it when it is free, and a signal ends the wait", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const [mine = 0, other = 0] = await opened(lab, [a, b]);
  await lab.end(a.vfs.setLock(mine, lock("x", LOCK.write)));
  const signal = new AbortController();
  const ended = lab.errno(() => b.vfs.setLock(other, lock("x", LOCK.write), signal.signal));
  const waiting = b.vfs.setLock(other, lock("y", LOCK.write), new AbortController().signal);
  signal.abort();
  t.equal(await ended, "EINTR");
  await lab.end(a.vfs.setLock(mine, lock("x", LOCK.none)));
  await lab.end(waiting);
  t.equal(await lab.errno(() => a.vfs.setLock(mine, lock("x", LOCK.read))), "EAGAIN");
});

test("while another mount waits, nobody decides alone, or it would not hear of an end", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const [mine = 0, other = 0] = await opened(lab, [a, b]);
  await lab.end(a.vfs.setLock(mine, lock("x", LOCK.write, { start: 0, end: 5 })));
  const waiting = b.vfs.setLock(other, lock("y", LOCK.write), new AbortController().signal);
  t.ok(await isWaiting(waiting));
  await lab.end(a.vfs.setLock(mine, lock("x", LOCK.write, { start: 6, end: 7 })));
  await lab.end(a.vfs.setLock(mine, lock("x", LOCK.none)));
  await lab.end(waiting);
});

test("closing ends locks: of its process with any descriptor, of flock with the last one", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const [mine = 0, other = 0] = await opened(lab, [a, b]);
  await lab.end(a.vfs.setLock(mine, lock("x", LOCK.write)));
  await lab.end(a.vfs.setLock(mine, { ...lock("f", LOCK.write), flock: true }));
  await lab.end(a.vfs.flush(mine, "x"));
  t.equal(await lab.errno(() => b.vfs.setLock(other, lock("x", LOCK.write))), "");
  const flock = { ...lock("f", LOCK.write), flock: true };
  t.equal(await lab.errno(() => b.vfs.setLock(other, flock)), "EAGAIN");
  await lab.end(a.vfs.release(mine, "f"));
  t.equal(await lab.errno(() => b.vfs.setLock(other, flock)), "");
  await lab.end(b.vfs.setLock(other, endOf("f", true)));
});

test("who was given up by the daemon has lost its locks, and its file knows that for ever", async (t) => {
  const lab = new Lab();
  const mount = lab.mount();
  const [handle = 0] = await opened(lab, [mount]);
  const { handle: without } = await lab.create(mount, "other");
  await lab.end(mount.vfs.setLock(handle, lock("x", LOCK.write)));
  mount.vfs.fenced(false);
  for (let n = 0; n < 3; n++) t.equal(await lab.errno(() => mount.vfs.write(handle, 0, Buffer.from("x"))), "EIO");
  t.equal(await lab.errno(() => mount.vfs.read(handle, 0, 1)), "EIO");
  await lab.errno(() => mount.vfs.write(without, 0, Buffer.from("x")));
  t.equal(await lab.errno(() => mount.vfs.write(without, 0, Buffer.from("x"))), "", "a file without locks goes on");
  t.equal(await lab.errno(() => mount.vfs.release(handle)), "");
});

test("what was under way when the session was given up does not bring its locks back", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const [mine = 0, other = 0] = await opened(lab, [a, b]);
  await lab.end(b.vfs.setLock(other, lock("x", LOCK.write, { start: 9, end: 9 })));
  await lab.end(a.vfs.setLock(mine, lock("x", LOCK.write, { start: 0, end: 5 })));
  a.meta.before = (op) => {
    if (op !== "lock") return;
    lab.cluster.locks.end(a.meta.session);
    a.vfs.fenced(false);
    throw new FsError("EIO");
  };
  t.equal(await lab.errno(() => a.vfs.setLock(mine, lock("x", LOCK.write, { start: 6, end: 7 }))), "EIO");
  t.equal(await lab.errno(() => b.vfs.setLock(other, lock("x", LOCK.write))), "");
});

test("a lock that was asked for when the session was given up is had in the next one, or by nobody", async (t) => {
  const lab = new Lab();
  const mount = lab.mount();
  const [handle = 0] = await opened(lab, [mount]);
  mount.meta.before = (op) => {
    if (op !== "lock") return;
    mount.meta.before = () => undefined;
    mount.vfs.fenced(false);
    throw new FsError("EIO");
  };
  await lab.end(mount.vfs.setLock(handle, lock("x", LOCK.write)));
  t.equal(lab.cluster.locks.size, 1);
  t.match(mount.vfs.heldLocks(), [{ locks: [{ owner: "x", kind: LOCK.write }] }], "which knows that it has it");
});

test("who has waited behind another one of a session that was given up leaves no lock in the next one", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const [first = 0, second = 0, other = 0] = await opened(lab, [a, a, b]);
  const at = (owner: string, place: number) => lock(owner, LOCK.write, { start: place, end: place });
  await lab.end(b.vfs.setLock(other, at("x", 9)));
  await lab.end(a.vfs.setLock(first, at("x", 0)));
  let lose = (): void => undefined;
  const lost = new Promise<void>((resolve) => (lose = resolve));
  a.meta.before = async (op) => {
    if (op !== "lock") return;
    a.meta.before = () => undefined;
    await lost;
    throw new FsError("EIO");
  };
  const asked = [a.vfs.setLock(first, at("x", 1)), a.vfs.setLock(second, at("y", 2))];
  await Promise.all(asked.map((work) => isWaiting(work)));
  lab.cluster.locks.end(a.meta.session);
  a.vfs.fenced(false);
  lose();
  for (const work of asked) t.equal(await lab.errno(() => work), "EIO", "locks of the file were lost");
  t.equal(await lab.errno(() => b.vfs.setLock(other, lock("x", LOCK.write))), "");
});

test("asking who holds a lock keeps nothing", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const [mine = 0] = await opened(lab, [a, b]);
  t.equal(await lab.end(a.vfs.getLock(mine, lock("x", LOCK.write))), undefined);
  t.equal(lab.cluster.locks.size, 0);
});
