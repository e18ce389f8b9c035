import { readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { writeDurably, type DurableDisk } from "../../../daemon/common/durable.js";

test("a file is replaced whole and nothing else is left in its folder", async (t) => {
  const dir = t.testdir({ file: "old" });
  await writeDurably(join(dir, "file"), Buffer.from("new"), { mode: 0o600 });
  t.equal(await readFile(join(dir, "file"), "utf8"), "new");
  t.same(await readdir(dir), ["file"]);
  t.equal((await stat(join(dir, "file"))).mode & 0o777, 0o600);
});

test("a temporary file that a crash left is replaced", async (t) => {
  const dir = t.testdir({ "file.tmp": "half of something longer than the new content" });
  await writeDurably(join(dir, "file"), Buffer.from("new"));
  t.equal(await readFile(join(dir, "file"), "utf8"), "new");
  t.same(await readdir(dir), ["file"]);
});

test("the bytes are fsynced before the rename and the folder after it", async (t) => {
  const calls: string[] = [];
  const disk: DurableDisk = {
    write: async (path) => void calls.push(`write ${path}`),
    sync: async (path) => void calls.push(`sync ${path}`),
    rename: async (from, into) => void calls.push(`rename ${from} ${into}`),
    remove: async (path) => void calls.push(`remove ${path}`),
  };
  await writeDurably("/d/file", Buffer.from("new"), { disk });
  t.same(calls, ["write /d/file.tmp", "sync /d/file.tmp", "rename /d/file.tmp /d/file", "sync /d"]);
});

test("when the disk refuses the old content stays and the temporary file goes", async (t) => {
  const calls: string[] = [];
  const disk: DurableDisk = {
    write: async () => {
      throw Object.assign(new Error("full"), { code: "ENOSPC" });
    },
    sync: async (path) => void calls.push(`sync ${path}`),
    rename: async () => void calls.push("rename"),
    remove: async (path) => void calls.push(`remove ${path}`),
  };
  await t.rejects(writeDurably("/d/file", Buffer.from("new"), { disk }), { code: "ENOSPC" });
  t.same(calls, ["remove /d/file.tmp"]);
});
