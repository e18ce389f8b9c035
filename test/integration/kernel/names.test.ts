import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { test } from "tap";
import { ownMount } from "../../helpers/mount-process.js";

const run = promisify(execFile);
const under = (mnt: string, name: Buffer) => Buffer.concat([Buffer.from(`${mnt}/`), name]);

test("names keep all bytes from 1 to 255, UTF-8 or not (D27)", async (t) => {
  const [mnt] = await ownMount(t);
  const names = Array.from({ length: 255 }, (_, i) => i + 1)
    .filter((byte) => byte !== 0x2f)
    .map((byte) => Buffer.from([byte, 0xff, byte]));
  for (const name of names) await fs.writeFile(under(mnt, name), name);
  const listed = await fs.readdir(mnt, { encoding: "buffer" });
  t.same(new Set(listed.map((name) => name.toString("latin1"))), new Set(names.map((name) => name.toString("latin1"))));
  for (const name of names) t.same(await fs.readFile(under(mnt, name)), name);
});

test("a name of 255 bytes is kept, one of 256 is ENAMETOOLONG", async (t) => {
  const [mnt] = await ownMount(t);
  const longest = Buffer.alloc(255, 0xe9);
  await fs.writeFile(under(mnt, longest), "x");
  t.same(await fs.readdir(mnt, { encoding: "buffer" }), [longest]);
  const longer = under(mnt, Buffer.alloc(256, 0xe9));
  await t.rejects(fs.writeFile(longer, "x"), { code: "ENAMETOOLONG" });
  await t.rejects(fs.stat(longer), { code: "ENAMETOOLONG" });
  await t.rejects(fs.mkdir(longer), { code: "ENAMETOOLONG" });
  await t.rejects(fs.rename(under(mnt, longest), longer), { code: "ENAMETOOLONG" });
});

test("files and folders are renamed, replaced and exchanged, also over folders", async (t) => {
  const [mnt] = await ownMount(t);
  const at = (name: string) => join(mnt, name);
  await fs.mkdir(at("a/deep"), { recursive: true });
  await fs.mkdir(at("b"));
  await fs.writeFile(at("a/one"), "1");
  await fs.writeFile(at("b/two"), "2");
  await fs.rename(at("a/one"), at("b/moved"));
  t.equal(await fs.readFile(at("b/moved"), "utf8"), "1");
  await t.rejects(fs.stat(at("a/one")), { code: "ENOENT" });
  await fs.rename(at("b/moved"), at("b/two"));
  t.equal(await fs.readFile(at("b/two"), "utf8"), "1");
  await fs.rename(at("a/deep"), at("b/deep"));
  t.same((await fs.readdir(at("b"))).sort(), ["deep", "two"]);
  await t.rejects(fs.rename(at("a"), at("b")), { code: "ENOTEMPTY" });

  await fs.writeFile(at("other"), "o");
  const rename2 = `
import ctypes,sys,os
c=ctypes.CDLL(None,use_errno=True)
r=c.renameat2(-100,sys.argv[1].encode(),-100,sys.argv[2].encode(),int(sys.argv[3]))
print(r, ctypes.get_errno())`;
  const call = async (flags: number) =>
    (await run("python3", ["-c", rename2, at("other"), at("b/two"), String(flags)])).stdout.trim();
  t.equal(await call(1), "-1 17", "NOREPLACE over an existing name is EEXIST");
  t.equal(await call(2), "0 0", "EXCHANGE");
  t.equal(await fs.readFile(at("other"), "utf8"), "1");
  t.equal(await fs.readFile(at("b/two"), "utf8"), "o");
});

test("hard links share an inode, symbolic links keep their target's bytes", async (t) => {
  const [mnt] = await ownMount(t);
  const at = (name: string) => join(mnt, name);
  await fs.writeFile(at("file"), "x");
  await fs.link(at("file"), at("second"));
  t.equal((await fs.stat(at("second"))).ino, (await fs.stat(at("file"))).ino);
  t.equal((await fs.stat(at("file"))).nlink, 2);
  const target = Buffer.concat([Buffer.from("nowhere/"), Buffer.alloc(4000, 0xfe)]);
  await fs.symlink(target, at("link"));
  t.same(await fs.readlink(at("link"), { encoding: "buffer" }), target);
  await fs.symlink("file", at("short"));
  t.equal(await fs.readFile(at("short"), "utf8"), "x");
  t.ok((await fs.lstat(at("short"))).isSymbolicLink());
});

test("fifos and device nodes are made with their type and number", async (t) => {
  const [mnt] = await ownMount(t);
  await run("mkfifo", [join(mnt, "fifo")]);
  t.ok((await fs.stat(join(mnt, "fifo"))).isFIFO());
  if (process.getuid?.() !== 0) return;
  await run("mknod", [join(mnt, "dev"), "c", "300", "70000"]);
  const { stdout } = await run("stat", ["-c", "%F %t %T", join(mnt, "dev")]);
  t.equal(stdout.trim(), `character special file ${(300).toString(16)} ${(70000).toString(16)}`);
});
