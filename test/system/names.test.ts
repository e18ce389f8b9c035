import { mkdir, readdir, rename, rmdir, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { must, sh } from "../helpers/run.js";

test("names of every byte, of 255 bytes, and not of 256 (D27)", async (t) => {
  const cluster = await TestCluster.start(t);
  const at = (name: Buffer) => Buffer.concat([Buffer.from(`${cluster.mnt}/`), name]);
  const bytes = Array.from({ length: 255 }, (_, i) => i + 1).filter((b) => b !== 0x2f && b !== 0x2e);
  for (const byte of bytes) await writeFile(at(Buffer.from([byte])), `${byte}`);
  const long = Buffer.alloc(255, 0xff);
  await writeFile(at(long), "long");
  const expected = [...bytes.map((b) => Buffer.from([b])), long].map((b) => b.toString("latin1")).sort();
  const listed = async () => (await readdir(cluster.mnt, "buffer")).map((b) => b.toString("latin1")).sort();
  t.same(await listed(), expected);
  await t.rejects(writeFile(at(Buffer.alloc(256, 0x61)), ""), { code: "ENAMETOOLONG" });
  await t.rejects(stat(at(Buffer.alloc(256, 0x61))), { code: "ENAMETOOLONG" });
  await t.rejects(rename(at(long), at(Buffer.alloc(256, 0x61))), { code: "ENAMETOOLONG" });
  await cluster.down();
  await cluster.up();
  t.same(await listed(), expected, "also after a restart");
});

test("a folder with 50,000 entries lists, looks up and empties", async (t) => {
  const cluster = await TestCluster.start(t);
  const dir = join(cluster.mnt, "many");
  await mkdir(dir);
  await must("python3", [
    "-c",
    `import os\nfor i in range(50000): os.close(os.open("${dir}/%05d" % i, os.O_CREAT | os.O_WRONLY))`,
  ]);
  const names = await readdir(dir);
  t.equal(names.length, 50_000);
  t.equal(new Set(names).size, 50_000, "each once");
  t.equal((await stat(join(dir, "49999"))).size, 0);
  await unlink(join(dir, "00000"));
  t.equal(Number(await sh("ls -f | wc -l", { cwd: dir })), 50_001, "with . and ..");
  await t.rejects(rmdir(dir), { code: "ENOTEMPTY" });
  await must("rm", ["-rf", dir]);
  await t.rejects(stat(dir), { code: "ENOENT" });
});
