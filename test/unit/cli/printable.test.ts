import { test } from "tap";
import { FsError } from "../../../proto/errno.js";
import { EXIT, exitCodeOf, explain } from "../../../daemon/cli/exit.js";
import { table } from "../../../daemon/cli/table.js";
import { printableLine } from "../../../mount/files/path.js";
import { StartupError } from "../../../daemon/common/running.js";

test("what a terminal would take for an order, or not show, is escaped, and nothing else", async (t) => {
  t.equal(printableLine("a\x1b[31m\nb\t\u202ec\x9f"), "a\\x1b[31m\\nb\\t\\xe2\\x80\\xaec\\xc2\\x9f");
  t.equal(printableLine("Müll 漢字 🙂 \\x"), "Müll 漢字 🙂 \\x");
  t.equal(table([["a\nb", "c"]]), "a\\nb  c");
  t.equal(explain(new FsError("EINVAL", "'\x1bc'")), "'\\x1bc' (EINVAL)");
  t.equal(explain(new StartupError("\x07", { hint: "do" })), "\\x07\n  do");
});

test("what the system refuses has the code of its reason", async (t) => {
  const system = (code: string) => Object.assign(new Error(code), { code });
  t.equal(exitCodeOf(system("EACCES")), EXIT.notAllowed);
  t.equal(exitCodeOf(new StartupError("", { hint: "", cause: system("EPERM") })), EXIT.notAllowed);
  t.equal(exitCodeOf(new StartupError("", { hint: "", cause: system("ECONNREFUSED") })), EXIT.unreachable);
  t.equal(exitCodeOf(new StartupError("", { hint: "", cause: system("ENOSPC") })), EXIT.failed);
  t.equal(exitCodeOf(undefined), EXIT.failed);
});
