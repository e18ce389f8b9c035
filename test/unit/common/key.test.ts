import { chmod, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { createKey, readKey } from "../../../daemon/common/key.js";
import { StartupError } from "../../../daemon/common/running.js";

test("a key that was created is read back, belongs to its owner only, and is never replaced", async (t) => {
  const file = join(t.testdir({}), "cluster.key");
  await createKey(file);
  const key = await readKey(file);
  t.equal(key.length, 32);
  t.equal((await stat(file)).mode & 0o777, 0o600);
  await createKey(file);
  t.ok((await readKey(file)).equals(key));
});

test("a missing, open, short or foreign key file is told with a way out", async (t) => {
  const dir = t.testdir({});
  const refused = async (file: string) => {
    const error: unknown = await readKey(join(dir, file)).catch((reason: unknown) => reason);
    t.type(error, StartupError, file);
    t.ok((error as StartupError).message.includes(file));
    t.not((error as StartupError).hint, "");
  };
  await refused("missing");
  for (const [file, text] of [
    ["empty", ""],
    ["short", "ab".repeat(31)],
    ["text", "z".repeat(64)],
  ] as const) {
    await writeFile(join(dir, file), text, { mode: 0o600 });
    await refused(file);
  }
  const none = createKey(join(dir, "none", "key"));
  await t.rejects(none, { name: "StartupError", message: /there is no folder .*none$/ });
  await createKey(join(dir, "open"));
  await chmod(join(dir, "open"), 0o644);
  await refused("open");
});
