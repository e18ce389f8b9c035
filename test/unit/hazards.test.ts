import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { packageRoot } from "../helpers/package-root.js";

const FOLDER = join(packageRoot, "test");
const ROWS = Array.from({ length: 40 }, (_, n) => `D${n + 1}`);

/** The rows that titles of tests in this file name. */
async function rowsIn(file: string): Promise<Set<string>> {
  const text = await readFile(join(FOLDER, file), "utf8");
  const titles = [...text.matchAll(/\btest\(\s*(["`].*)/g)].map(([, title = ""]) => title);
  return new Set(titles.flatMap((title) => title.match(/\bD[1-9]\d?\b/g) ?? []));
}

test("every hazard has the tests that test/README.md lists, and their titles name it", async (t) => {
  const readme = await readFile(join(FOLDER, "README.md"), "utf8");
  const rows: string[] = [];
  for (const [, row = "", cell = ""] of readme.matchAll(/^\| (D\d+) +\|[^|]*\|(.*)\|$/gm)) {
    rows.push(row);
    const files = [...cell.matchAll(/`(.+?)`/g)].map(([, file = ""]) => file);
    t.not(files.length, 0, `${row} has a test`);
    for (const file of files) t.ok((await rowsIn(file)).has(row), `a title in ${file} names ${row}`);
  }
  t.same(rows, ROWS);
});
