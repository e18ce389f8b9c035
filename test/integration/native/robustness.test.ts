import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { test } from "tap";
import { isMounted } from "../../../mount/kernel/unmount.js";
import { ownMount, type MountSettings } from "../../helpers/mount-process.js";

const run = promisify(execFile);

const isRoot = process.getuid?.() === 0;
const root = isRoot ? {} : { skip: "only root may do this" };

function nativeMount(t: Parameters<typeof ownMount>[0], settings: Partial<MountSettings> = {}) {
  return ownMount(t, { ...settings, driver: "fuse-native" });
}

test("fuse-native: the filesystem's errors reach programs as they are", async (t) => {
  const [mnt, server] = await nativeMount(t);
  const file = await fs.open(join(mnt, "file"), "w+");
  const attempts = {
    write: () => file.write("x"),
    fsync: () => file.sync(),
    // Another descriptor, because close(2) ends one whatever it says.
    flush: async () => (await fs.open(join(mnt, "file"))).close(),
    mkdir: () => fs.mkdir(join(mnt, "folder")),
  };
  for (const errno of ["EIO", "ENOSPC", "EROFS", "ETIMEDOUT"] as const) {
    for (const [operation, attempt] of Object.entries(attempts)) {
      await server.ask("break", { operation, errno });
      await t.rejects(async () => void (await attempt()), { code: errno }, `${operation}: ${errno}`);
      await server.ask("mend", {});
    }
  }
  await file.close();
});

test("fuse-native: a folder of 20,000 names is listed whole", async (t) => {
  const [mnt] = await nativeMount(t);
  const script = `
import os,sys
os.chdir(sys.argv[1])
for i in range(20000): os.mknod("%05d" % i)
names=os.listdir("."); print(len(names), names == ["%05d" % i for i in range(20000)])
with os.scandir(".") as found: print(all(e.is_file(follow_symlinks=False) and e.inode() > 0 for e in found))`;
  t.equal((await run("python3", ["-c", script, mnt])).stdout, "20000 True\nTrue\n");
});

test("fuse-native: a killed program does not disturb the others, and what it had open is released", async (t) => {
  const [mnt, server] = await nativeMount(t);
  await server.ask("hold", { operation: "open" });
  const child = run("python3", ["-c", `open("${mnt}/file","w")`]);
  while ((await server.ask("held", {})) < 1);
  child.child.kill("SIGKILL");
  await server.ask("letGo", {});
  await t.rejects(child);
  while ((await server.ask("census", {})).handles > 0) await fs.stat(mnt);
  await fs.writeFile(join(mnt, "other"), "fine");
  t.equal(await fs.readFile(join(mnt, "other"), "utf8"), "fine");
});

test("fuse-native: what is under way when it is stopped is answered, and it ends in order", async (t) => {
  const [mnt, server] = await nativeMount(t);
  await fs.writeFile(join(mnt, "file"), "content");
  await server.ask("hold", { operation: "mkdir" });
  const making = fs.mkdir(join(mnt, "folder"));
  while ((await server.ask("held", {})) < 1);
  const stopping = server.ask("unmount", {});
  while (await isMounted(mnt));
  await server.ask("letGo", {});
  await making;
  await stopping;
  t.equal(await server.exited(), 0);
  t.equal(await isMounted(mnt), false);
});

test(
  "fuse-native: a connection that is aborted ends the mount, and leaves the folder free although it is in use",
  root,
  async (t) => {
    const [mnt, server] = await nativeMount(t);
    const file = await fs.open(join(mnt, "file"), "w+");
    await t.rejects(run("umount", ["-f", mnt]), /busy/);
    t.equal(await server.exited(), 0);
    t.equal(await isMounted(mnt), false);
    await t.rejects(file.stat(), { code: "ENOTCONN" });
    await file.close().catch(() => undefined);
  },
);

test("fuse-native: who goes on with an open file when it is stopped is refused in the end, while others are waited for", async (t) => {
  const [mnt, server] = await nativeMount(t);
  const file = await fs.open(join(mnt, "file"), "w+");
  await server.ask("hold", { operation: "fsync" });
  const syncing = file.sync();
  while ((await server.ask("held", {})) < 1);
  const stopping = server.ask("unmount", {});
  const isServed = () => file.stat().then(Boolean, () => false);
  while (await isServed());
  await server.ask("letGo", {});
  await syncing;
  await stopping;
  t.equal(await server.exited(), 0);
  await file.close().catch(() => undefined);
});

test("fuse-native: after kill -9 programs are told, and the folder is mounted again over the dead mount", async (t) => {
  const [mnt, server] = await nativeMount(t);
  const file = await fs.open(join(mnt, "file"), "w+");
  await server.kill();
  await t.rejects(fs.stat(mnt), { code: /ENOTCONN|ECONNABORTED/ });
  await t.rejects(file.write("x"), { code: "ENOTCONN" });
  await file.close().catch(() => undefined);
  await nativeMount(t, { mountpoint: mnt });
  await fs.writeFile(join(mnt, "file"), "works");
  t.equal(await fs.readFile(join(mnt, "file"), "utf8"), "works");
});

test("fuse-native: a read-only mount refuses changes", async (t) => {
  const [mnt] = await nativeMount(t, { readOnly: true });
  await t.rejects(fs.writeFile(join(mnt, "file"), ""), { code: "EROFS" });
  await t.rejects(fs.mkdir(join(mnt, "folder")), { code: "EROFS" });
  await t.rejects(fs.chmod(mnt, 0o700), { code: "EROFS" });
  t.same(await fs.readdir(mnt), []);
});

test("fuse-native: sizes and offsets up to 2^53 are exact, and what lies beyond is EFBIG", async (t) => {
  const [mnt] = await nativeMount(t);
  const script = `
import errno,os,sys
def err(f):
    try: return f()
    except OSError as e: return errno.errorcode[e.errno]
fd=os.open(sys.argv[1]+"/file",os.O_CREAT|os.O_RDWR)
for off in (2**32-1, 2**32, 2**41+3): print(os.pwrite(fd,b"here",off), os.pread(fd,5,off), os.fstat(fd).st_size == off+4)
for size in (2**53-1, 2**53, 2**63-1): print(err(lambda: os.ftruncate(fd,size)), os.fstat(fd).st_size)
print(err(lambda: os.pwrite(fd,b"here",2**53)), os.pread(fd,5,2**62))
os.chown(fd,2**32-2,2**31+1); s=os.fstat(fd); print(s.st_uid,s.st_gid)
for mode in (0, 0o7777, 0o4711): os.fchmod(fd,mode); print(oct(os.fstat(fd).st_mode))
s=os.statvfs(sys.argv[1]); print(s.f_frsize*s.f_blocks == 2**40, s.f_frsize*s.f_bavail == 2**39, s.f_namemax)`;
  t.same((await run("python3", ["-c", script, mnt])).stdout.trim().split("\n"), [
    ...["4 b'here' True", "4 b'here' True", "4 b'here' True"],
    ...["None 9007199254740991", "EFBIG 9007199254740991", "EFBIG 9007199254740991"],
    "EFBIG b''",
    "4294967294 2147483649",
    ...["0o100000", "0o107777", "0o104711"],
    "True True 255",
  ]);
});
