import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { inNewFolder } from "../../../../daemon/meta/backup/new-volume.js";

const refused = (): Promise<void> => Promise.reject(new Error("refused"));

test("a folder that was made for metadata which could not be filled in goes again; one that was there stays", async (t) => {
  const dir = t.testdir();
  await t.rejects(inNewFolder(join(dir, "new"), refused), /refused/);
  t.same(await readdir(dir), []);
  await mkdir(join(dir, "there"));
  await t.rejects(inNewFolder(join(dir, "there"), refused), /refused/);
  t.same(await readdir(join(dir, "there")), []);
  await inNewFolder(join(dir, "new"), () => Promise.resolve());
  t.same(await readdir(join(dir, "new")), ["meta.db"]);
  await t.rejects(inNewFolder(join(dir, "new"), refused), /has metadata already/);
  t.same(await readdir(join(dir, "new")), ["meta.db"]);
});
