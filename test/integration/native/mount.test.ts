import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { test } from "tap";
import { isMounted, unmountPath } from "../../../mount/kernel/unmount.js";
import { ownMount, type MountSettings } from "../../helpers/mount-process.js";

const run = promisify(execFile);
const python = async (script: string, ...args: string[]) =>
  (await run("python3", ["-c", script, ...args])).stdout.trim();

function nativeMount(t: Parameters<typeof ownMount>[0], settings: Partial<MountSettings> = {}) {
  return ownMount(t, { ...settings, driver: "fuse-native" });
}

for (const later of [false, true]) {
  const answers = later ? "answers that come later" : "answers at once";

  test(`fuse-native: what is written is read back, with ${answers}`, async (t) => {
    const [mnt] = await nativeMount(t, { later });
    const sizes = [0, 1, 4096, 4097, 131072, 131073, (1 << 20) + 1, 5_000_001];
    await Promise.all(
      sizes.map(async (size) => {
        const data = randomBytes(size);
        const path = join(mnt, `file-${size}`);
        await fs.writeFile(path, data);
        t.ok((await fs.readFile(path)).equals(data), `${size} bytes`);
      }),
    );
  });

  test(`fuse-native: a handler that throws gives EIO, and the mount lives, with ${answers}`, async (t) => {
    const [mnt, server] = await nativeMount(t, { later });
    const path = join(mnt, "file");
    await fs.writeFile(path, "content");
    const attempts: Record<string, () => Promise<unknown>> = {
      lookup: () => fs.stat(path),
      getattr: () => fs.stat(mnt),
      readdir: () => fs.readdir(mnt),
      opendir: () => fs.readdir(mnt),
      open: () => fs.readFile(path),
      read: () => fs.readFile(path),
      write: () => fs.appendFile(path, "x"),
      mknod: () => fs.writeFile(join(mnt, "new"), ""),
      mkdir: () => fs.mkdir(join(mnt, "dir")),
      symlink: () => fs.symlink("x", join(mnt, "link")),
      link: () => fs.link(path, join(mnt, "second")),
      unlink: () => fs.unlink(path),
      rename: () => fs.rename(path, join(mnt, "to")),
      setattr: () => fs.chmod(path, 0o600),
      flush: async () => (await fs.open(path, "r+")).close(),
      statfs: () => fs.statfs(mnt),
      setxattr: () => run("setfattr", ["-n", "user.a", "-v", "b", path]).catch(inOutput),
      getxattr: () => run("getfattr", ["-n", "user.a", path]).catch(inOutput),
    };
    for (const [operation, attempt] of Object.entries(attempts)) {
      await server.ask("break", { operation });
      await t.rejects(async () => void (await attempt()), { code: "EIO" }, operation);
      await server.ask("mend", {});
      t.equal(await fs.readFile(path, "utf8"), "content");
    }
    t.equal((await server.ask("counts", {}))["rename:EIO"], 1, "the hook was told");
  });
}

function inOutput(error: unknown): never {
  const isTold = String((error as { stderr?: string }).stderr).includes("Input/output error");
  throw isTold ? Object.assign(new Error("told by a program"), { code: "EIO" }) : (error as Error);
}

test("fuse-native: an open file outlives its name without another one, also when it is replaced", async (t) => {
  const [mnt, server] = await nativeMount(t);
  const path = join(mnt, "sub/file");
  await fs.mkdir(join(mnt, "sub"));
  await fs.writeFile(path, "old");
  await fs.link(path, join(mnt, "second"));
  const file = await fs.open(path, "r+");
  await fs.writeFile(join(mnt, "sub/new"), "new");
  await fs.rename(join(mnt, "sub/new"), path);
  t.equal((await file.stat()).nlink, 1, "the other name");
  await fs.unlink(join(mnt, "second"));
  t.same(await fs.readdir(join(mnt, "sub")), ["file"]);
  t.equal(await fs.readFile(path, "utf8"), "new");
  await file.write("+", 3);
  await file.chmod(0o640);
  await file.truncate(5);
  t.equal((await file.read(Buffer.alloc(9), 0, 9, 0)).buffer.toString(), "old+\0\0\0\0\0");
  const { nlink, size, mode } = await file.stat();
  t.same([nlink, size, mode & 0o777], [0, 5, 0o640]);
  await fs.unlink(path);
  t.same(await fs.readdir(join(mnt, "sub")), []);
  await file.close();
  while ((await server.ask("census", {})).nodes > 2) await fs.stat(mnt);
  const { references, handles } = await server.ask("census", {});
  t.same([references, handles], [0, 0], "nothing is kept");
});

test("fuse-native: a folder stays while a file of it is open, which libfuse would lose and not survive", async (t) => {
  const [mnt] = await nativeMount(t);
  const [folder, other, empty] = [join(mnt, "a/folder"), join(mnt, "a/other"), join(mnt, "empty")];
  await fs.mkdir(folder, { recursive: true });
  await fs.mkdir(empty);
  const file = await fs.open(join(folder, "file"), "w+");
  await fs.unlink(join(folder, "file"));
  await t.rejects(fs.rmdir(folder), { code: "EBUSY" });
  await t.rejects(fs.rename(empty, folder), { code: "EBUSY" });
  await fs.rename(folder, other);
  await t.rejects(fs.rmdir(other), { code: "EBUSY" });
  await file.write("still there");
  t.equal((await file.read(Buffer.alloc(11), 0, 11, 0)).buffer.toString(), "still there");
  t.equal((await file.stat()).nlink, 0);
  await file.close();
  await fs.rmdir(other);
});

test("fuse-native: also when another mount has moved that folder away", async (t) => {
  const [mnt, server] = await nativeMount(t);
  const folder = join(mnt, "folder");
  await fs.mkdir(folder);
  const file = await fs.open(join(folder, "file"), "w+");
  await server.ask("renameBehind", { from: "folder", into: "away" });
  await fs.writeFile(folder, "");
  await t.rejects(fs.unlink(folder), { code: "EBUSY" });
  await fs.writeFile(join(mnt, "new"), "");
  await t.rejects(fs.rename(join(mnt, "new"), folder), { code: "EBUSY" });
  await file.close();
  await fs.unlink(folder);
  t.same(await fs.readdir(join(mnt, "away")), ["file"]);
});

test("fuse-native: who opens what another mount has put in place of an open file reads only that, and the old one is ESTALE", async (t) => {
  const [mnt, server] = await nativeMount(t);
  const path = join(mnt, "file");
  const start = async (handle: fs.FileHandle) => (await handle.read(Buffer.alloc(3), 0, 3, 0)).buffer.toString();
  await fs.writeFile(path, "old".repeat(3000));
  const before = await fs.open(path, "r+");
  await fs.writeFile(join(mnt, "new"), "new".repeat(3000));
  await server.ask("renameBehind", { from: "new", into: "file" });
  t.equal(await start(before), "old", "it can be used until then");
  const after = await fs.open(path, "r+");
  await t.rejects(start(before), { message: /116/ });
  await t.rejects(before.write("old"), { message: /116/ });
  t.equal(await start(after), "new");
  await before.close();
  await after.close();
  t.equal(await fs.readFile(path, "utf8"), "new".repeat(3000));
});

test("fuse-native: what another mount has replaced or removed while it is open can be removed and replaced", async (t) => {
  const [mnt, server] = await nativeMount(t);
  const path = join(mnt, "file");
  await fs.writeFile(path, "old");
  const file = await fs.open(path, "r+");
  await fs.writeFile(join(mnt, "new"), "new");
  await server.ask("renameBehind", { from: "new", into: "file" });
  await fs.unlink(path);
  t.same(await fs.readdir(mnt), [], "no name of libfuse's either");
  t.equal(await file.readFile("utf8"), "old");
  await file.close();
  t.same(await fs.readdir(mnt), []);

  const second = await fs.open(path, "w+");
  await server.ask("renameBehind", { from: "file", into: "away" });
  await fs.writeFile(join(mnt, "new"), "new");
  await fs.rename(join(mnt, "new"), path);
  t.equal(await fs.readFile(path, "utf8"), "new");
  await second.close();
  t.same((await fs.readdir(mnt)).sort(), ["away", "file"]);
});

test("fuse-native: both times arrive, to the millisecond; earlier ones than 1970 are kept but not shown", async (t) => {
  const [mnt] = await nativeMount(t);
  const script = `
import os,sys
f=sys.argv[1]+"/f"; open(f,"w").close()
for times in ((1234567891234567891, 987654321987654321), (5000000000123456789, -5000000000)):
    os.utime(f, ns=times); s=os.stat(f); print(s.st_atime_ns, s.st_mtime_ns)`;
  t.equal(await python(script, mnt), "1234567891234000000 987654321987000000\n5000000000123000000 0");
});

test("fuse-native: what it cannot do is refused, or does what this says", async (t) => {
  const [mnt] = await nativeMount(t);
  const script = `
import ctypes,errno,os,sys
os.chdir(sys.argv[1]); libc=ctypes.CDLL(None,use_errno=True)
def err(f):
    try: return f()
    except OSError as e: return errno.errorcode[e.errno]
def call(r): return "done" if r==0 else errno.errorcode[ctypes.get_errno()]
open("a","w").close(); open("b","w").close(); fd=os.open("a",os.O_RDWR); os.pwrite(fd,b"x",1<<20)
print("not UTF-8:", err(lambda: open(b"\\xff","w")), err(lambda: os.rename(b"a",b"\\xff")), err(lambda: os.symlink(b"\\xff","s")))
print("renameat2:", call(libc.renameat2(-100,b"a",-100,b"c",1)), call(libc.renameat2(-100,b"a",-100,b"b",2)))
print("fallocate:", call(libc.fallocate(fd,0,ctypes.c_long(0),ctypes.c_long(9))), call(libc.fallocate(fd,3,ctypes.c_long(0),ctypes.c_long(9))))
print("holes:", os.lseek(fd,0,os.SEEK_DATA), os.lseek(fd,0,os.SEEK_HOLE))
print("O_TMPFILE:", err(lambda: os.open(".",os.O_TMPFILE|os.O_RDWR)))
print("long:", err(lambda: open("n"*256,"w")))
os.utime("b",(7,7)); os.system("touch -m -d @9 b; touch -a -d @9 b"); s=os.stat("b"); print("one time:", s.st_atime, s.st_mtime)`;
  t.same((await python(script, mnt)).split("\n"), [
    "not UTF-8: EILSEQ EILSEQ EILSEQ",
    "renameat2: EINVAL EINVAL",
    "fallocate: ENOTSUP ENOTSUP",
    `holes: 0 ${(1 << 20) + 1}`,
    "O_TMPFILE: ENOTSUP",
    "long: ENAMETOOLONG",
    "one time: 7.0 7.0",
  ]);
});

test("fuse-native: extended attributes of any length, and ERANGE where there is too little room", async (t) => {
  const [mnt] = await nativeMount(t);
  const script = `
import ctypes,errno,os,sys
f=sys.argv[1]+"/f"; open(f,"w").close(); libc=ctypes.CDLL(None,use_errno=True)
for n in (0, 1, 60000): os.setxattr(f,"user.a%d"%n,b"v"*n)
print([len(os.getxattr(f,"user.a%d"%n)) for n in (0,1,60000)], os.listxattr(f))
room=ctypes.create_string_buffer(10)
for r in (libc.getxattr(f.encode(),b"user.a60000",room,10), libc.listxattr(f.encode(),room,10)): print(r, errno.errorcode[ctypes.get_errno()])
try: os.setxattr(f,"system.posix_acl_access",b"\\2\\0\\0\\0")
except OSError as e: print(errno.errorcode[e.errno])`;
  t.equal(
    await python(script, mnt),
    "[0, 1, 60000] ['user.a0', 'user.a1', 'user.a60000']\n-1 ERANGE\n-1 ERANGE\nENOTSUP",
  );
});

test("fuse-native: whoever creates what another mount has just made opens it, and with O_EXCL is EEXIST", async (t) => {
  const [mnt, server] = await nativeMount(t);
  for (const [flags, told] of [
    ["os.O_CREAT|os.O_RDWR", "b'theirs'"],
    ["os.O_CREAT|os.O_RDWR|os.O_EXCL", "EEXIST"],
  ] as const) {
    await fs.writeFile(join(mnt, "theirs"), "theirs");
    await server.ask("hold", { operation: "lookup" });
    const script = `
import errno,os,sys
try: print(os.read(os.open(sys.argv[1]+"/file", ${flags}),9))
except OSError as e: print(errno.errorcode[e.errno])`;
    const opening = python(script, mnt);
    while ((await server.ask("held", {})) < 1);
    await server.ask("renameBehind", { from: "theirs", into: "file" });
    await server.ask("letGo", {});
    t.equal(await opening, told);
    await fs.unlink(join(mnt, "file"));
  }
});

test("fuse-native: it ends in order when it is unmounted from outside", async (t) => {
  const [mnt, server] = await nativeMount(t);
  await fs.writeFile(join(mnt, "file"), "x");
  await unmountPath(mnt);
  t.equal(await server.exited(), 0, "drained, and ended without an error");
  t.equal(await isMounted(mnt), false);
});

test("fuse-native: taken away lazily it serves who has files open; stopped, it does not wait for them for ever", async (t) => {
  const [mnt, server] = await nativeMount(t);
  const file = await fs.open(join(mnt, "file"), "w+");
  await unmountPath(mnt, { lazy: true });
  await file.write("still served");
  t.equal((await file.read(Buffer.alloc(5), 0, 5, 0)).buffer.toString(), "still");
  await file.close();
  t.equal(await server.exited(), 0);

  const [second, busy] = await nativeMount(t);
  const open = await fs.open(join(second, "file"), "w+");
  await busy.ask("unmount", {});
  t.equal(await busy.exited(), 0);
  await t.rejects(open.stat(), { code: "ENOTCONN" });
  await open.close().catch(() => undefined);
});
