import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { isLockName, lockFolder } from "../../../daemon/common/lock-file.js";
import { startTimeOf } from "../../../daemon/common/process.js";
import { StartupError } from "../../../daemon/common/running.js";

const NONCE = "0123456789abcdef";

test("a folder has one user at a time, and a released lock is free", async (t) => {
  const dir = t.testdir();
  const first = await lockFolder(dir);
  t.ok((await readdir(dir)).every(isLockName));
  await t.rejects(lockFolder(dir), StartupError);
  await t.rejects(lockFolder(dir), { message: new RegExp(`in use by process ${process.pid}`) });
  await first.release();
  const second = await lockFolder(dir);
  await first.release();
  await t.rejects(lockFolder(dir), StartupError, "a lock that was released before does not take a later one along");
  await second.release();
  t.same(await readdir(dir), []);
});

test("the lock of a dead process is taken over, that of a living one is not", async (t) => {
  const dir = t.testdir();
  const child = spawn("cat", { stdio: ["pipe", "ignore", "inherit"] });
  const name = `lock.${child.pid}.${startTimeOf(child.pid ?? 0)}.${NONCE}`;
  await writeFile(join(dir, name), "");
  await t.rejects(lockFolder(dir), StartupError);
  t.same(await readdir(dir), [name]);
  child.kill("SIGKILL");
  await once(child, "exit");
  await (await lockFolder(dir)).release();
  t.same(await readdir(dir), []);
});

test("a pid that another process has by now does not keep the lock", async (t) => {
  const dir = t.testdir({ [`lock.${process.pid}.1@another-boot.${NONCE}`]: "" });
  await (await lockFolder(dir)).release();
});

test("of many that want a stale lock at once at most one gets it, and afterwards it is free again", async (t) => {
  const dir = t.testdir({ [`lock.1.gone.${NONCE}`]: "" });
  for (let round = 0; round < 20; round++) {
    const all = await Promise.allSettled(Array.from({ length: 6 }, () => lockFolder(dir)));
    const won = all.filter((result) => result.status === "fulfilled");
    if (won.length > 1) t.fail(`${won.length} have it`);
    t.equal((await readdir(dir)).length, won.length, "who did not get it leaves nothing behind");
    for (const result of won) await result.value.release();
  }
  await (await lockFolder(dir)).release();
});

test("other files whose names start alike are left alone", async (t) => {
  const dir = t.testdir({ lock: "", "lock.json": "", "lock.1.gone": "" });
  await (await lockFolder(dir)).release();
  t.same((await readdir(dir)).sort(), ["lock", "lock.1.gone", "lock.json"]);
});

test("a folder that does not exist is a start-up error", async (t) => {
  await t.rejects(lockFolder(join(t.testdir(), "missing")), StartupError);
});
