import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "tap";
import { startTimeIn, startTimeOf } from "../../../daemon/common/process.js";

test("a process has one start time for as long as it lives, and none afterwards", async (t) => {
  // A name with spaces and parentheses, which /proc shows unescaped.
  const child = spawn(
    process.execPath,
    ["-e", "process.title = 'a) R 1 (b'; console.log('up'); process.stdin.resume()"],
    {
      stdio: ["pipe", "pipe", "inherit"],
    },
  );
  const pid = child.pid ?? 0;
  await once(child.stdout, "data");
  const started = startTimeOf(pid);
  t.match(started, /^\d+@[0-9a-f-]{36}$/);
  t.equal(startTimeOf(pid), started);
  child.kill("SIGKILL");
  await once(child, "exit");
  t.equal(startTimeOf(pid), undefined);
});

test("a pid that no process has gives no start time", async (t) => {
  t.equal(startTimeOf(2 ** 30), undefined);
});

test("where there is no /proc, ps(1) tells when a process started, and that one is dead and not yet reaped", async (t) => {
  t.equal(startTimeIn("Ss   Sun Nov  2 20:07:24 2026\n"), "Sun-Nov-2-20:07:24-2026");
  t.equal(startTimeIn("Z+   Sun Nov  2 20:07:24 2026\n"), undefined);
  t.equal(startTimeIn(""), undefined);
});
