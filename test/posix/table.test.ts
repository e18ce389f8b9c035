import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, run } from "../helpers/run.js";

const PROGRAM = join(packageRoot, "test/posix/table.py");

/** Rows that are otherwise on a mount, as the README says, and how they end. */
const DIFFERENT: Readonly<Record<string, RegExp>> = {
  "O_PATH: an unlinked file that nobody has open is opened by /proc": /ESTALE|Stale file handle/,
  "times: atime is relatime: moved by the first read after a change, not by the next": /'', not 'a'/,
};

/** What each row of the table says. */
async function table(...folders: string[]): Promise<Map<string, string>> {
  const { stdout, stderr } = await run("python3", [PROGRAM, ...folders]);
  if (stderr !== "") throw new Error(stderr);
  const rows = stdout.split("\n").filter((line) => line !== "");
  return new Map(
    rows.map(
      (line) => (/^(.*?): (ok|line \d.*|ended by .*)$/.exec(line) ?? [line, line, ""]).slice(1, 3) as [string, string],
    ),
  );
}

test("what the table says is so on a local folder, and on a mount and between two but for what is declared", async (t) => {
  const cluster = await TestCluster.start(t, ["--allow-other"]);
  const second = await cluster.mountAgain("second", ["--allow-other"]);
  // The users of the rows must get there.
  await must("chmod", ["755", cluster.dir]);
  const local = join(cluster.dir, "local");
  for (const folder of [local, join(cluster.mnt, "table")]) await mkdir(folder);
  const expected = await table(local, local);
  const found = await table(join(cluster.mnt, "table"), join(second, "table"));
  t.ok(expected.size > 90, `${expected.size} rows`);
  t.same([...found.keys()], [...expected.keys()]);
  for (const [row, outcome] of expected) t.equal(outcome, "ok", `local: ${row}`);
  for (const [row, outcome] of found) t.match(outcome, DIFFERENT[row] ?? /^ok$/, row);
  t.same(
    Object.keys(DIFFERENT).filter((row) => !found.has(row)),
    [],
    "what is declared to differ is in the table",
  );
});
