import { test } from "tap";
import { cannotBegin, cannotGoOn } from "../../../daemon/cli/bench/errors.js";
import { exitCodeOf, explain } from "../../../daemon/cli/exit.js";

const failure = (code: string) => Object.assign(new Error(`${code}: as node says it`), { code });

test("what stops a benchmark is told with the way out and its exit code", async (t) => {
  for (const [error, text, code] of [
    [cannotBegin("/x", failure("ENOENT")), /^\/x: there is no such folder.*\(ENOENT\)$/, 1],
    [cannotBegin("/x", failure("EROFS")), /^\/x: it is read-only: mount it for writing.*\(EROFS\)$/, 1],
    [cannotBegin("/x", failure("EACCES")), /^\/x: this user may not write there.*\(EACCES\)$/, 4],
    [
      cannotGoOn("append, in /x", failure("ENOSPC")),
      /^append, in \/x: .*\n {2}no space is left: make some.*\(ENOSPC\)$/,
      1,
    ],
    [cannotGoOn("append, in /x", failure("EDQUOT")), /the quota is used up.*\(EDQUOT\)$/, 1],
    [cannotGoOn("append, in /x", failure("EUCLEAN")), /^append, in \/x: EUCLEAN: as node says it \(EUCLEAN\)$/, 1],
  ] as const) {
    t.match(explain(error), text);
    t.equal(exitCodeOf(error), code);
  }
});
