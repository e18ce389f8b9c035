import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { test } from "tap";
import { ownMount } from "../../helpers/mount-process.js";

const run = promisify(execFile);
const sha = (data: Buffer) => createHash("sha256").update(data).digest("hex");

for (const later of [false, true]) {
  const answers = later ? "answers that come later" : "answers at once";

  test(`what is written is read back, with ${answers}, though requests are overwritten after use`, async (t) => {
    const [mnt] = await ownMount(t, { later });
    for (const size of [0, 1, 4095, 4096, 4097, 131072, 131073, 1 << 20, (1 << 20) + 1, 5_000_001]) {
      const data = randomBytes(size);
      const path = join(mnt, `file-${size}`);
      await fs.writeFile(path, data);
      const direct = await run("dd", [`if=${path}`, "bs=1M", "iflag=direct", "status=none"], {
        encoding: "buffer",
        maxBuffer: 1 << 24,
      });
      t.equal(sha(direct.stdout), sha(data), `${size} bytes`);
      t.equal((await fs.stat(path)).size, size);
    }
  });

  test(`files written at the same time keep their own bytes, with ${answers}`, async (t) => {
    const [mnt] = await ownMount(t, { later });
    const contents = Array.from({ length: 16 }, () => randomBytes(700_000));
    await Promise.all(contents.map((data, i) => fs.writeFile(join(mnt, `f${i}`), data)));
    const found = await Promise.all(contents.map((_, i) => fs.readFile(join(mnt, `f${i}`))));
    t.same(found.map(sha), contents.map(sha));
  });
}

test("a file can be overwritten, appended to, truncated and read at any place", async (t) => {
  const [mnt] = await ownMount(t);
  const path = join(mnt, "file");
  await fs.writeFile(path, "0123456789");
  const file = await fs.open(path, "r+");
  await file.write(Buffer.from("AB"), 0, 2, 4);
  t.equal((await file.read(Buffer.alloc(4), 0, 4, 3)).buffer.toString(), "3AB6");
  await file.close();
  await fs.appendFile(path, "xyz");
  t.equal(await fs.readFile(path, "utf8"), "0123AB6789xyz");
  await fs.truncate(path, 5);
  t.equal(await fs.readFile(path, "utf8"), "0123A");
  await fs.truncate(path, 8);
  t.same(await fs.readFile(path), Buffer.from("0123A\0\0\0"));
});

test("one byte at 5 GiB makes a sparse file, with holes where nothing was written", async (t) => {
  const [mnt] = await ownMount(t);
  const path = join(mnt, "sparse");
  const at = 5 * 2 ** 30;
  const file = await fs.open(path, "w+");
  await file.write("!", at);
  const { size, blocks } = await file.stat();
  t.equal(size, at + 1);
  t.ok(blocks * 512 < 2 ** 20, "hardly anything is stored");
  t.equal((await file.read(Buffer.alloc(2), 0, 2, at - 1)).buffer.toString(), "\0!");
  await file.close();
  const seek = `
import os,sys
f=os.open(sys.argv[1],0)
data=os.lseek(f,0,os.SEEK_DATA)
print(5*2**30-data < 2**20, os.lseek(f,0,os.SEEK_HOLE), os.lseek(f,data,os.SEEK_HOLE)-5*2**30)`;
  t.equal((await run("python3", ["-c", seek, path])).stdout.trim(), "True 0 1");
});

test("offsets that are not exact numbers are EFBIG, and nothing is damaged", async (t) => {
  const [mnt] = await ownMount(t);
  const path = join(mnt, "file");
  await fs.writeFile(path, "content");
  const far = `
import os,sys,errno
f=os.open(sys.argv[1],os.O_RDWR)
for call in (lambda: os.pwrite(f,b"x",2**53), lambda: os.ftruncate(f,2**62), lambda: os.posix_fallocate(f,2**60,1)):
    try: call(); print("done")
    except OSError as e: print(errno.errorcode[e.errno])
print(os.pread(f,10,2**60))`;
  t.equal((await run("python3", ["-c", far, path])).stdout.trim(), "EFBIG\nEFBIG\nEFBIG\nb''");
  t.equal(await fs.readFile(path, "utf8"), "content");
});

test("an open file outlives its name, and goes when it is closed", async (t) => {
  const [mnt, server] = await ownMount(t);
  const path = join(mnt, "file");
  const file = await fs.open(path, "w+");
  await file.write("still here");
  await fs.unlink(path);
  await t.rejects(fs.stat(path), { code: "ENOENT" });
  t.equal((await file.stat()).nlink, 0);
  t.equal((await file.read(Buffer.alloc(10), 0, 10, 0)).buffer.toString(), "still here");
  await file.close();
  while ((await server.ask("census", {})).nodes > 1) await fs.stat(mnt);
});

test("space is taken, holes are punched and ranges copied inside the filesystem", async (t) => {
  const [mnt, server] = await ownMount(t);
  const path = join(mnt, "file");
  await fs.writeFile(path, Buffer.alloc(300_000, 7));
  await run("fallocate", ["--length", "400000", path]);
  t.equal((await fs.stat(path)).size, 400_000);
  await run("fallocate", ["--punch-hole", "--offset", "1000", "--length", "2000", path]);
  const data = await fs.readFile(path);
  t.same(data.subarray(998, 1002), Buffer.from([7, 7, 0, 0]));
  t.same(data.subarray(2998, 3002), Buffer.from([0, 0, 7, 7]));
  const copy =
    "import os,sys; a=os.open(sys.argv[1],0); b=os.open(sys.argv[2],65,0o600); print(os.copy_file_range(a,b,400000))";
  t.equal((await run("python3", ["-c", copy, path, join(mnt, "copy")])).stdout.trim(), "400000");
  t.same(await fs.readFile(join(mnt, "copy")), data);
  t.equal((await server.ask("counts", {}))["copyRange"], 1);
});

test("shared memory maps see and make changes", async (t) => {
  const [mnt] = await ownMount(t);
  const path = join(mnt, "file");
  await fs.writeFile(path, Buffer.alloc(10_000, 0x61));
  const map = `
import mmap,os,sys
f=os.open(sys.argv[1],os.O_RDWR)
m=mmap.mmap(f,10000)
print(m[5000:5002]); m[5000:5004]=b"MMAP"; m.flush(); m.close(); os.close(f)`;
  t.equal((await run("python3", ["-c", map, path])).stdout.trim(), "b'aa'");
  t.equal((await fs.readFile(path)).subarray(4999, 5005).toString(), "aMMAPa");
});
