import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { test } from "tap";
import { ownMount } from "../../helpers/mount-process.js";

const run = promisify(execFile);
const root = process.getuid?.() === 0 ? {} : { skip: "only root may act as another user" };

test("times keep their nanoseconds, also before 1970 and after 2038", async (t) => {
  const [mnt] = await ownMount(t, { attrMs: 0 });
  const path = join(mnt, "file");
  await fs.writeFile(path, "");
  const set = "import os,sys; os.utime(sys.argv[1], ns=(int(sys.argv[2]), int(sys.argv[3])))";
  for (const [atime, mtime] of [
    [1_234_567_890_123_456_789n, 987_654_321_000_000_001n],
    [-1n, -1_000_000_001n],
    [5_000_000_000_999_999_999n, -3_000_000_000_000_000_000n],
  ] as const) {
    await run("python3", ["-c", set, path, String(atime), String(mtime)]);
    const found = await fs.stat(path, { bigint: true });
    t.same([found.atimeNs, found.mtimeNs], [atime, mtime]);
  }
});

test("times that cannot be stored become the nearest that can", async (t) => {
  const [mnt] = await ownMount(t, { attrMs: 0 });
  const path = join(mnt, "file");
  await fs.writeFile(path, "");
  for (const [asked, stored] of [
    ["9007199254740993", "9007199254740991"],
    ["-9007199254740995", "-9007199254740991"],
  ] as const) {
    await run("touch", ["-d", `@${asked}`, path]);
    t.equal((await run("stat", ["-c", "%Y", path])).stdout.trim(), stored);
  }
});

test("one time can be set, set to now, or left as it is", async (t) => {
  const [mnt] = await ownMount(t, { attrMs: 0 });
  const path = join(mnt, "file");
  await fs.writeFile(path, "");
  await run("touch", ["-d", "2001-02-03 04:05:06.789 UTC", path]);
  await run("touch", ["-a", path]);
  const found = await fs.stat(path, { bigint: true });
  t.equal(found.mtimeNs, 981_173_106_789_000_000n);
  t.ok(found.atimeNs > 1_600_000_000_000_000_000n);
  t.ok(found.birthtimeNs > 1_600_000_000_000_000_000n, "the birth time is told");
});

test("modes, owners and the umask arrive as they were given", async (t) => {
  const [mnt] = await ownMount(t, { attrMs: 0 });
  const path = join(mnt, "file");
  await run("sh", ["-c", `umask 027; echo > ${path}; mkdir ${path}.d`]);
  t.equal((await fs.stat(path)).mode, 0o100640);
  t.equal((await fs.stat(`${path}.d`)).mode, 0o040750);
  await fs.chmod(path, 0o4711);
  t.equal((await fs.stat(path)).mode, 0o104711);
  if (process.getuid?.() !== 0) return;
  await fs.chown(path, 12345, 2 ** 32 - 2);
  const { uid, gid } = await fs.stat(path);
  t.same([uid, gid], [12345, 2 ** 32 - 2]);
});

test("set-user-id ends when another user writes or the owner changes (HANDLE_KILLPRIV_V2)", root, async (t) => {
  const [mnt] = await ownMount(t, { attrMs: 0, allowOther: true });
  const path = join(mnt, "file");
  const mode = async () => ((await fs.stat(path)).mode & 0o7777).toString(8);
  const asNobody = (command: string) => run("sh", ["-c", command], { uid: 65534, gid: 65534 });
  await fs.writeFile(path, "x");
  for (const [name, change] of [
    ["write", () => asNobody(`echo y >> ${path}`)],
    ["truncate", () => asNobody(`truncate -s 1 ${path}`)],
    ["open with O_TRUNC", () => asNobody(`: > ${path}`)],
    ["chown", () => fs.chown(path, 5, 5)],
  ] as const) {
    await fs.chmod(path, 0o6777);
    await change();
    t.equal(await mode(), "777", name);
  }
  for (const command of [`echo y >> ${path}`, `fallocate -o 0 -l 9 ${path}`, `fallocate -p -o 0 -l 1 ${path}`]) {
    await fs.chmod(path, 0o6767);
    await asNobody(command);
    t.equal(await mode(), "767", "set-group-id without group execution is not for who is not in the group");
  }
  await fs.chown(path, 5, 77);
  await fs.chmod(path, 0o6767);
  await run("setpriv", ["--reuid=65534", "--regid=65534", "--groups=78,77", "sh", "-c", `echo y >> ${path}`]);
  t.equal(await mode(), "2767", "who is in it leaves it");
  await fs.chmod(path, 0o6777);
  await fs.appendFile(path, "root may");
  t.equal(await mode(), "6777");
});

test("the kernel checks permissions for other users", root, async (t) => {
  const [mnt] = await ownMount(t, { allowOther: true });
  const path = join(mnt, "file");
  await fs.writeFile(path, "x", { mode: 0o600 });
  await t.rejects(run("cat", [path], { uid: 65534, gid: 65534 }), { message: /Permission denied/ });
  await t.rejects(run("sh", ["-c", `echo > ${mnt}/new`], { uid: 65534, gid: 65534 }), { message: /Permission denied/ });
});

test("without allowOther no other user may enter", root, async (t) => {
  const [mnt] = await ownMount(t);
  await t.rejects(run("ls", [mnt], { uid: 65534, gid: 65534 }), { message: /Permission denied/ });
});

test("extended attributes: values of any bytes, sizes, limits, and lists", async (t) => {
  const [mnt] = await ownMount(t);
  const path = join(mnt, "file");
  await fs.writeFile(path, "");
  const script = `
import os,sys,errno
p=sys.argv[1]
def err(f):
    try: return f()
    except OSError as e: return errno.errorcode[e.errno]
os.setxattr(p,"user.a",bytes(range(256))); os.setxattr(p,"user.big",b"z"*60000); os.setxattr(p,"user.empty",b"")
print(os.getxattr(p,"user.a")==bytes(range(256)), len(os.getxattr(p,"user.big")), os.getxattr(p,"user.empty"))
print(sorted(os.listxattr(p)))
print(err(lambda: os.setxattr(p,"user.a",b"",os.XATTR_CREATE)), err(lambda: os.setxattr(p,"user.b",b"",os.XATTR_REPLACE)))
os.removexattr(p,"user.a"); print(err(lambda: os.getxattr(p,"user.a")), err(lambda: os.removexattr(p,"user.a")))
import ctypes
c=ctypes.CDLL(None,use_errno=True); b=ctypes.create_string_buffer(10)
print(c.getxattr(p.encode(),b"user.big",None,0), c.getxattr(p.encode(),b"user.big",b,10), errno.errorcode[ctypes.get_errno()])
print(c.listxattr(p.encode(),None,0), c.listxattr(p.encode(),b,10), errno.errorcode[ctypes.get_errno()])
acl=b"\\2\\0\\0\\0\\1\\0\\6\\0\\xff\\xff\\xff\\xff\\4\\0\\4\\0\\xff\\xff\\xff\\xff\\x20\\0\\4\\0\\xff\\xff\\xff\\xff"
os.setxattr(p,"system.posix_acl_access",acl); print(os.getxattr(p,"system.posix_acl_access")==acl)`;
  const { stdout } = await run("python3", ["-c", script, path]);
  t.same(stdout.trim().split("\n"), [
    "True 60000 b''",
    "['user.a', 'user.big', 'user.empty']",
    "EEXIST ENODATA",
    "ENODATA ENODATA",
    "60000 -1 ERANGE",
    "20 -1 ERANGE",
    "True",
  ]);
});

test("statfs tells sizes beyond 4 GiB and the longest name", async (t) => {
  const [mnt] = await ownMount(t);
  const found = await fs.statfs(mnt);
  t.same([found.blocks * found.bsize, found.bfree * found.bsize], [2 ** 40, 2 ** 39]);
  t.equal((await run("stat", ["-f", "-c", "%l", mnt])).stdout.trim(), "255");
});
