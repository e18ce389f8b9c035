import { closeSync, fchownSync, openSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "tap";
import { SharedMemory, readShared } from "../../../daemon/common/shared-memory.js";
import { dataOf } from "../store/chunks.js";

const SLOT = 100_000;

/** A file with some bytes; without its name when `isGone`. */
function opened(path: string, isGone: boolean): number {
  rmSync(path, { force: true });
  writeFileSync(path, "a secret of this process");
  const fd = openSync(path, "r");
  if (isGone) unlinkSync(path);
  return fd;
}

test("payloads are read as they were lent, and their places are used again", async (t) => {
  const memory = SharedMemory.open(SLOT);
  t.teardown(() => memory.close());
  const all = [1, 2, 3].map((n) => dataOf(n, SLOT - n));
  const lent = all.map((data) => memory.lend(data));
  for (const [i, data] of all.entries()) t.same(await readShared(lent[i]!.shared), data);
  lent[1]!.release();
  const again = memory.lend(dataOf(9, 10))!;
  t.equal(again.shared.off, lent[1]!.shared.off);
  t.same(await readShared(again.shared), dataOf(9, 10));
  t.same(await readShared(lent[2]!.shared), all[2]);
});

test("what does not fit is not lent: too large, too many at once", (t) => {
  const memory = SharedMemory.open(SLOT);
  t.teardown(() => memory.close());
  t.equal(memory.lend(Buffer.alloc(SLOT + 1)), undefined);
  const lent = [];
  for (let one = memory.lend(Buffer.alloc(1)); one !== undefined; one = memory.lend(Buffer.alloc(1))) lent.push(one);
  t.ok(lent.length >= 8 && lent.length < 100, `${lent.length} at once`);
  lent[0]!.release();
  t.ok(memory.lend(Buffer.alloc(1)));
  t.end();
});

test("EFAULT: a process of another machine, or one that is gone; what is no shared memory; what is too short", async (t) => {
  const memory = SharedMemory.open(SLOT);
  const { shared } = memory.lend(Buffer.alloc(10))!;
  const { process: self } = shared;
  const refused = (other: Partial<typeof shared>) =>
    t.rejects(readShared({ ...shared, ...other }), { name: "FsError", errno: "EFAULT" });
  const [ticks] = self!.started.split("@");
  await refused({ process: undefined });
  await refused({ process: { pid: self!.pid, started: "" } });
  await refused({ process: { pid: self!.pid, started: `${ticks}@another-boot` } });
  await refused({ process: { pid: 2 ** 22 + 1, started: self!.started } });
  await refused({ len: SLOT });

  const others = [
    () => opened(join(t.testdir({}), "secret"), true),
    () => opened(`/dev/shm/bigfs-test-${process.pid}`, false),
    () => openSync("/dev/shm", "r"),
    () => {
      const fd = opened(`/dev/shm/bigfs-test-${process.pid}`, true);
      fchownSync(fd, 12_345, 0);
      return fd;
    },
  ];
  // The last one only root can make.
  const possible = process.getuid?.() === 0 ? others : others.slice(0, -1);
  for (const open of possible) {
    const fd = open();
    await refused({ fd });
    closeSync(fd);
  }
  rmSync(`/dev/shm/bigfs-test-${process.pid}`, { force: true });
  memory.close();
  await refused({});
});
