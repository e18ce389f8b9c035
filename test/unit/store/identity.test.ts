import { mkdirSync } from "node:fs";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { StartupError } from "../../../daemon/common/running.js";
import { openDataFolder } from "../../../daemon/store/identity.js";

test("a new folder gets an identity, which stays, and what the volume says at the first join stays, too", async (t) => {
  const data = join(t.testdir(), "disk");
  const first = await openDataFolder(data);
  t.match(first.identity, { volume: "", node: 0 });
  await first.adopt("v", 7);
  const { uuid } = first.identity;
  await first.close();
  const second = await openDataFolder(data);
  t.match(second.identity, { uuid, volume: "v", node: 7 });
  await second.close();
  t.same(await readdir(data), ["identity.json"]);
});

test("a second daemon on one folder is refused", async (t) => {
  const data = t.testdir();
  const first = await openDataFolder(data);
  await t.rejects(openDataFolder(data), StartupError);
  await first.close();
  await (await openDataFolder(data)).close();
});

test("a fresh filesystem with its lost+found counts as empty", async (t) => {
  await (await openDataFolder(t.testdir({ "lost+found": {} }))).close();
});

test("a folder with other things and without identity is refused and left as it was (D12)", async (t) => {
  const data = t.testdir({ "holiday.jpg": "x" });
  await t.rejects(openDataFolder(data), { name: "StartupError", message: /no identity.json/ });
  t.same(await readdir(data), ["holiday.jpg"]);
  const chunks = t.testdir();
  mkdirSync(join(chunks, "chunks"));
  await t.rejects(openDataFolder(chunks), { name: "StartupError" }, "chunks whose identity is gone");
});

test("a damaged identity or one of a later format is refused, not replaced (D30)", async (t) => {
  const data = t.testdir({ "identity.json": "" });
  await t.rejects(openDataFolder(data), { message: /damaged/ });
  t.equal(await readFile(join(data, "identity.json"), "utf8"), "");
  const later = { format: 2, uuid: "5b0f8d3c-9f0e-4b57-8f43-6f1f6a1a8c11", volume: "v", node: 1 };
  await writeFile(join(data, "identity.json"), JSON.stringify(later));
  await t.rejects(openDataFolder(data), { message: /format 2, this build knows 1/ });
});

test("a folder that cannot be written is told as one", async (t) => {
  const data = t.testdir({ "identity.json.tmp": {} });
  const refusal = { name: "StartupError", message: /cannot write .*identity.json: /, hint: /name another folder/ };
  await t.rejects(openDataFolder(data), refusal);
});
