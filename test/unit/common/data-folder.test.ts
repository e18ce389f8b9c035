import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { makeFolder, mustBeNew } from "../../../daemon/common/data-folder.js";
import { run } from "../../helpers/run.js";

test("a folder is made with its parents, and one that is there stays", async (t) => {
  const dir = join(t.testdir({}), "a", "b");
  await makeFolder(dir);
  await writeFile(join(dir, "file"), "");
  await makeFolder(dir);
  t.same(await readdir(dir), ["file"]);
  const refusal = { name: "StartupError", message: /cannot make the data folder .*: there is a file of that name/ };
  await t.rejects(makeFolder(join(dir, "file")), refusal);
  await t.rejects(makeFolder(join(dir, "file", "below")), refusal);
});

test("where no folder can be made, that is said, and does not take for ever", async (t) => {
  await t.rejects(makeFolder("/proc/none/below", { what: "mount point" }), {
    message: /cannot make the mount point .*ENOENT/,
  });
  if (process.getuid?.() !== 0) return;
  // In a mount namespace of its own, where a disk is read-only.
  const url = JSON.stringify(new URL("../../../daemon/common/data-folder.js", import.meta.url).href);
  const program = `(await import(${url})).makeFolder("/mnt/a/b").catch(({ message }) => console.log(message))`;
  const inside = `mount -t tmpfs -o ro none /mnt && exec ${process.execPath} --input-type=module -e '${program}'`;
  const { stdout } = await run("unshare", ["--mount", "sh", "-c", inside]);
  t.match(stdout, /\/mnt\/a\/b: EROFS/);
});

test("a folder without a daemon's file is a new one only when it is empty", async (t) => {
  const what = { marker: "meta.db", leftover: "meta.db.lock", daemon: "metadata" };
  await mustBeNew(t.testdir({ "lost+found": {}, "meta.db.lock": "", "lock.1.2": "" }), what);
  const dir = t.testdir({ "meta.db-wal": "" });
  await t.rejects(mustBeNew(dir, what), { message: /has no meta.db, but it is not empty \(meta.db-wal\)/ });
});
