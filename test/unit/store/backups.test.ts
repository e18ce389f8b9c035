import { crc32 } from "node:zlib";
import { test } from "tap";
import { Layout } from "../../../daemon/common/chunks/layout.js";
import { Backups } from "../../../daemon/store/backups.js";
import { MemoryDisk } from "./memory-disk.js";

const NAME = "0001.life.snapshot";

function place() {
  const disk = new MemoryDisk();
  const layout = new Layout("/data");
  const backups = new Backups({ disk, layout });
  const put = (off: number, text: string, more: { last?: boolean; crc?: number; name?: string } = {}) =>
    backups.put({ name: NAME, off, last: false, crc: 0, ...more }, Buffer.from(text));
  return { disk, layout, backups, put };
}

test("a file is there when all of it came, and not before", async (t) => {
  const { backups, put } = place();
  t.same(await backups.list(), []);
  await put(0, "abc");
  await put(3, "def");
  t.same(await backups.list(), []);
  await put(6, "", { last: true, crc: crc32("abcdef") });
  t.same(await backups.list(), [{ name: NAME, size: 6 }]);
  t.equal(String(await backups.get({ name: NAME, off: 2, len: 3 })), "cde");
  t.equal(String(await backups.get({ name: NAME, off: 6, len: 3 })), "");
  await backups.remove([NAME, "none"]);
  t.same(await backups.list(), []);
  await t.rejects(backups.get({ name: NAME, off: 0, len: 1 }), /ENOENT/);
});

test("a file of which a piece is missing, doubled or different is refused, and can be sent again", async (t) => {
  const { backups, put } = place();
  await put(0, "abc");
  await t.rejects(put(4, "d"), /does not follow/);
  await t.rejects(put(0, "abc", { last: true, crc: 1 }), /bad checksum/);
  await t.rejects(put(3, "def"), /does not follow/, "it begins anew");
  t.same(await backups.list(), []);
  await put(0, "abc", { last: true, crc: crc32("abc") });
  t.same(await backups.list(), [{ name: NAME, size: 3 }]);
  for (const name of ["../chunks/00/x", "", "/etc/passwd", ".hidden"])
    await t.rejects(put(0, "x", { name }), /is no name/);
});

test("what was there survives a power cut, and half of a file is never there", async (t) => {
  const { disk, backups, put } = place();
  await put(0, "whole", { last: true, crc: crc32("whole") });
  await put(0, "half", { name: "0001.life.log" });
  disk.restart(() => 0);
  t.same(await backups.list(), [{ name: NAME, size: 5 }]);
  t.equal(String(await backups.get({ name: NAME, off: 0, len: 9 })), "whole");
});

test("of files that were begun and never sent to their end only a few are kept", async (t) => {
  const { disk, layout, backups, put } = place();
  for (let n = 0; n < 20; n++) await put(0, "begun", { name: `000${n}.log` });
  t.strictSame((await disk.list(layout.temp)).length, 4);
  await put(5, "", { name: "00019.log", last: true, crc: crc32("begun") });
  t.same(await backups.list(), [{ name: "00019.log", size: 5 }]);
});
