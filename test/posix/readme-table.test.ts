import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { DRIVERS, type Driver } from "../../mount/driver.js";
import { TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must } from "../helpers/run.js";

/**
 * One check for each row of the README's table, by the row's first words; Python, because it reaches the system calls.
 * Each runs in a fresh folder of the mount.
 */
const CHECKS: Readonly<Record<string, string>> = {
  "files, folders": `
    os.mkdir("d", 0o2775); os.chmod("d", 0o3775)
    assert stat.S_IMODE(os.stat("d").st_mode) == 0o3775
    os.mkfifo("d/fifo"); assert stat.S_ISFIFO(os.stat("d/fifo").st_mode)
    open("d/f", "w").close(); os.symlink("f", "d/s"); os.link("d/f", "d/l")
    assert os.readlink("d/s") == "f" and os.stat("d/f").st_nlink == 2
    os.mkdir("d/sub"); assert os.stat("d/sub").st_mode & stat.S_ISGID, "setgid is inherited"`,
  names: `
    for name in [b"\\xff\\xfe", b"n" * 255, b" ", b"\\n", bytes(range(1, 47)), b"caf\\xc3\\xa9"]:
        open(name, "w").close(); assert name in os.listdir(b".")
    fails(errno.ENAMETOOLONG, lambda: open("n" * 256, "w"))`,
  times: `
    open("f", "w").close(); os.utime("f", ns=(1234567891234567891, 987654321987654321))
    s = os.stat("f"); assert (s.st_atime_ns, s.st_mtime_ns) == (1234567891234567891, 987654321987654321)
    put("g", b"x"); os.utime("g", ns=(1, 2)); assert get(other("g")) == b"x" and os.stat("g").st_atime_ns == 1`,
  rename: `
    os.mkdir("a"); os.mkdir("b"); put("a/f", b"1"); put("b/f", b"2")
    fails(errno.EEXIST, lambda: renameat2("a/f", "b/f", 1))
    renameat2("a/f", "b/f", 2); assert get("a/f") == b"2" and get("b/f") == b"1"
    os.rename("a/f", "b/f"); assert get("b/f") == b"2" and os.listdir("a") == []
    renameat2("b/f", "a/f", 4); assert get("a/f") == b"2" and stat.S_ISCHR(os.lstat("b/f").st_mode)`,
  "unlink of open files": `
    fd = os.open("f", os.O_RDWR | os.O_CREAT); os.write(fd, b"still"); os.unlink("f")
    os.write(fd, b" here"); assert os.pread(fd, 99, 0) == b"still here" and os.fstat(fd).st_nlink == 0
    os.close(fd); assert os.listdir(".") == []`,
  "sparse files": `
    fd = os.open("f", os.O_RDWR | os.O_CREAT); os.pwrite(fd, b"x" * 4096, 8 << 20)
    assert os.lseek(fd, 0, os.SEEK_DATA) == 8 << 20 and os.lseek(fd, 8 << 20, os.SEEK_HOLE) == (8 << 20) + 4096
    fallocate(fd, 1 | 2, 8 << 20, 4096); assert os.pread(fd, 4096, 8 << 20) == bytes(4096)
    fallocate(fd, 1, 0, 99 << 20); assert os.fstat(fd).st_size == (8 << 20) + 4096
    fallocate(fd, 0, 0, 9 << 20); assert os.fstat(fd).st_size == 9 << 20
    fails(errno.ENOSPC, lambda: fallocate(fd, 0, 0, 1 << 50)); assert os.fstat(fd).st_size == 9 << 20
    os.pwrite(fd, b"y" * 9, 0); fallocate(fd, 16, 2, 3); assert os.pread(fd, 9, 0) == b"yy\\0\\0\\0yyyy"
    os.close(fd)`,
  copy_file_range: `
    put("a", os.urandom(3 << 20)); a = os.open("a", os.O_RDONLY); b = os.open("b", os.O_RDWR | os.O_CREAT)
    left = 3 << 20
    while left: left -= os.copy_file_range(a, b, left)
    os.close(a); os.close(b); assert get("a") == get("b")`,
  "extended attributes": `
    put("f", b""); os.setxattr("f", "user.k", b"v"); assert os.getxattr("f", "user.k") == b"v"
    assert "user.k" in os.listxattr("f"); os.removexattr("f", "user.k"); assert "user.k" not in os.listxattr("f")
    fails(errno.EOPNOTSUPP, lambda: os.setxattr("f", "other.k", b"v"))`,
  "POSIX access control lists": `
    put("f", b""); many = [[2, 4, n] for n in range(252)]
    os.setxattr("f", ACCESS, acl([1, 6], [2, 7, 1000], [4, 0], [16, 5], [32, 0])); assert mode("f") == 0o650
    os.chmod("f", 0o600); assert os.getxattr("f", ACCESS) == acl([1, 6], [2, 7, 1000], [4, 0], [16, 0], [32, 0])
    os.mkdir("d"); os.setxattr("d", DEFAULT, acl([1, 7], [2, 4, 1001], [4, 0], [16, 7], [32, 0])); os.umask(0o077)
    put("d/f", b""); assert os.getxattr("d/f", ACCESS) == acl([1, 6], [2, 4, 1001], [4, 0], [16, 6], [32, 0])
    os.setxattr("f", ACCESS, acl([1, 6], *many, [4, 0], [16, 4], [32, 0]))
    fails(errno.ENOSPC, lambda: os.setxattr("f", ACCESS, acl([1, 6], *many, [2, 4, 999], [4, 0], [16, 4], [32, 0])))`,
  mmap: `
    put("f", bytes(100000)); fd = os.open("f", os.O_RDWR)
    shared = mmap.mmap(fd, 100000); shared[50000:50005] = b"hello"; shared.flush(); shared.close()
    assert os.pread(fd, 5, 50000) == b"hello"
    private = mmap.mmap(fd, 100000, mmap.MAP_PRIVATE); private[0:1] = b"x"; private.close(); os.close(fd)
    assert get("f")[:1] == b"\\0"`,
  locks: `
    put("f", b""); fd = os.open("f", os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX)
    assert not rival("flock", "f") and not rival("flock", other("f")) and rival("lockf", other("f"))
    fcntl.lockf(fd, fcntl.LOCK_EX); assert not rival("lockf", "f") and not rival("lockf", other("f"))
    os.close(fd); assert rival("lockf", other("f")) and rival("flock", "f")`,
  "data written on one mount": `
    put("f", b"one"); assert get(other("f")) == b"one"
    put(other("f"), b"other"); assert get("f") == b"other"
    a, b = os.open("f", os.O_RDWR), os.open(other("f"), os.O_RDONLY)
    for n in range(20):
        os.pwrite(a, b"%05d" % n, 0); assert os.pread(b, 5, 0) == b"%05d" % n`,
  O_APPEND: `
    put("f", b""); children = [appending(path, mark) for path, mark in [("f", b"a"), (other("f"), b"b")]]
    for child in children: assert os.waitpid(child, 0)[1] == 0
    seen = get("f"); records = [seen[at:at + 5000] for at in range(0, len(seen), 5000)]
    assert sorted(records) == [b"a" * 5000] * 50 + [b"b" * 5000] * 50, seen[:100]`,
  O_TMPFILE: `
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640); os.write(fd, b"whole"); assert os.listdir(".") == []
    checked(libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, b"f", 0x400)); os.close(fd); assert get(other("f")) == b"whole"`,
  O_PATH: `
    put("f", b"x"); fd = os.open("f", os.O_PATH); os.close(os.open("/proc/self/fd/%d" % fd, os.O_RDWR)); os.unlink("f")
    fails(errno.ESTALE, lambda: os.open("/proc/self/fd/%d" % fd, os.O_RDWR))`,
  "sync(1)": `
    put("f", b"x"); os.sync(); assert get("f") == b"x"`,
};

/** What a driver does otherwise than the table says: checked like the rest. */
const DIFFERENT: Readonly<Record<Driver, Readonly<Record<string, string>>>> = {
  own: {},
  "fuse-native": {
    locks: `
    put("f", b""); fd = os.open("f", os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX); fcntl.lockf(fd, fcntl.LOCK_EX)
    assert not rival("flock", "f") and rival("flock", other("f"))
    assert not rival("lockf", "f") and rival("lockf", other("f")); os.close(fd)`,
    "data written on one mount": `
    put("f", b"one"); assert get(other("f")) == b"one"
    put(other("f"), b"other"); assert get("f") == b"other"`,
    O_APPEND: `
    for n in range(20):
        with open("f" if n % 2 else other("f"), "ab") as f: f.write(b"%02d" % n)
    assert get("f") == b"".join(b"%02d" % n for n in range(20))`,
    O_TMPFILE: `
    fails(errno.EOPNOTSUPP, lambda: os.open(".", os.O_TMPFILE | os.O_RDWR))`,
    O_PATH: `
    put("f", b"x"); fd = os.open("f", os.O_PATH); os.unlink("f")
    fails(errno.ENOENT, lambda: os.open("/proc/self/fd/%d" % fd, os.O_RDWR))`,
    "POSIX access control lists": `
    put("f", b""); fails(errno.EOPNOTSUPP, lambda: os.setxattr("f", ACCESS, acl([1, 6], [4, 4], [32, 4])))`,
    names: `
    for name in ["n" * 255, " ", "\\n", "caf\u00e9"]:
        open(name, "w").close(); assert name in os.listdir(".")
    fails(errno.EILSEQ, lambda: open(b"\\xff\\xfe", "w"))
    fails(errno.ENAMETOOLONG, lambda: open("n" * 256, "w"))`,
    times: `
    open("f", "w").close(); os.utime("f", ns=(1234567891234567891, 987654321987654321))
    s = os.stat("f"); assert (s.st_atime_ns, s.st_mtime_ns) == (1234567891234000000, 987654321987000000)
    subprocess.run(["touch", "-m", "-d", "@1", "f"], check=True); assert os.stat("f").st_mtime_ns == 987654321987000000`,
    rename: `
    os.mkdir("a"); os.mkdir("b"); put("a/f", b"1"); put("b/f", b"2")
    fails(errno.EINVAL, lambda: renameat2("a/f", "b/g", 1)); fails(errno.EINVAL, lambda: renameat2("a/f", "b/f", 2))
    os.rename("a/f", "b/f"); assert get("b/f") == b"1" and os.listdir("a") == []`,
    "sparse files": `
    fd = os.open("f", os.O_RDWR | os.O_CREAT); os.pwrite(fd, b"x" * 4096, 8 << 20)
    assert os.fstat(fd).st_blocks * 512 < 1 << 20 and os.pread(fd, 4096, 0) == bytes(4096)
    assert os.lseek(fd, 0, os.SEEK_DATA) == 0 and os.lseek(fd, 0, os.SEEK_HOLE) == (8 << 20) + 4096
    fails(errno.EOPNOTSUPP, lambda: fallocate(fd, 1 | 2, 8 << 20, 4096)); os.posix_fallocate(fd, 0, 9 << 20)
    assert os.fstat(fd).st_size == 9 << 20; os.close(fd)`,
  },
};

/**
 * The rows of the table of drivers: a row of the first table whose check, or its difference, is about the same; or a
 * check of its own, for each driver where they differ.
 */
const OF_DRIVERS: Readonly<Record<string, { readonly as: string } | Readonly<Record<Driver, string>>>> = {
  "names, targets": { as: "names" },
  times: { as: "times" },
  "mtime or atime alone": {
    own: `
    put("f", b""); os.utime("f", (5, 7)); subprocess.run(["touch", "-m", "-d", "@9", "f"], check=True)
    s = os.stat("f"); assert (s.st_atime, s.st_mtime) == (5, 9)`,
    "fuse-native": `
    put("f", b""); os.utime("f", (5, 7)); subprocess.run(["touch", "-m", "-d", "@9", "f"], check=True)
    s = os.stat("f"); assert (s.st_atime, s.st_mtime) == (5, 7)`,
  },
  "both times": same(`
    put("f", b""); os.utime("f", (5, 7)); subprocess.run(["cp", "-p", "f", "g"], check=True)
    s = os.stat("g"); assert (s.st_atime, s.st_mtime) == (5, 7)
    subprocess.run(["touch", "g"], check=True); s = os.stat("g"); assert s.st_atime > 7 and s.st_mtime > 7`),
  "owner of what is made": {
    own: `
    nobody(lambda: os.close(os.open("f", os.O_CREAT | os.O_WRONLY, 0o6755)))
    s = os.stat("f"); assert (s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)) == (65534, 65534, 0o6755), s`,
    "fuse-native": `
    nobody(lambda: os.close(os.open("f", os.O_CREAT | os.O_WRONLY, 0o6755)))
    s = os.stat("f"); assert (s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)) == (0, 0, 0o755), s`,
  },
  "set-id programs": same(`
    options = [l.split()[5].split(",") for l in open("/proc/self/mountinfo") if l.split()[4] == second]
    assert len(options) == 1 and {"nosuid", "nodev"} <= set(options[0]), options`),
  "access control lists": { as: "POSIX access control lists" },
  rename: { as: "rename" },
  "unlink of open files": {
    own: `
    os.mkdir("d"); fd = os.open("d/f", os.O_RDWR | os.O_CREAT); os.unlink("d/f"); os.rmdir("d")
    os.write(fd, b"still"); assert os.pread(fd, 9, 0) == b"still"; os.close(fd)`,
    "fuse-native": `
    os.mkdir("d"); fd = os.open("d/f", os.O_RDWR | os.O_CREAT); os.unlink("d/f"); assert os.listdir("d") == []
    fails(errno.EBUSY, lambda: os.rmdir("d")); os.write(fd, b"still"); assert os.pread(fd, 9, 0) == b"still"
    os.close(fd); os.rmdir("d")`,
  },
  fallocate: { as: "sparse files" },
  SEEK_HOLE: { as: "sparse files" },
  copy_file_range: { as: "copy_file_range" },
  O_TMPFILE: { as: "O_TMPFILE" },
  O_APPEND: { as: "O_APPEND" },
  "inode numbers": {
    own: `
    put("f", b""); assert os.stat("f").st_ino >= 1 << 32`,
    "fuse-native": `
    put("f", b""); assert os.stat("f").st_ino < 1 << 32`,
  },
  "hard links": {
    own: `
    put("f", b"one"); os.link("f", "g"); a = os.open("f", os.O_RDWR); b = os.open("g", os.O_RDWR)
    fcntl.flock(a, fcntl.LOCK_EX); fails(errno.EAGAIN, lambda: fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB))
    assert os.stat("f").st_ino == os.stat("g").st_ino; os.pwrite(a, b"two", 0); assert os.pread(b, 3, 0) == b"two"`,
    "fuse-native": `
    put("f", b"one"); os.link("f", "g"); a = os.open("f", os.O_RDWR); b = os.open("g", os.O_RDWR)
    fcntl.flock(a, fcntl.LOCK_EX); fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert os.stat("f").st_ino == os.stat("g").st_ino; os.pwrite(a, b"two", 0); assert get("g") == b"two"`,
  },
  writes: {
    own: `
    put(other("f"), b""); before = asked("write"); put(other("f"), b"x" * (4 << 20)); assert asked("write") - before == 4`,
    "fuse-native": `
    put(other("f"), b""); before = asked("write"); put(other("f"), b"x" * (4 << 20)); assert asked("write") - before == 32`,
  },
  "kernel's cache of names": {
    own: `
    put(other("f"), b"")
    # As soon as there is a lease: both mounts have changed this folder.
    while asking(lambda: os.stat(other("f"))) > 10: pass`,
    "fuse-native": `
    put(other("f"), b""); assert asking(lambda: os.stat(other("f"))) >= 100`,
  },
  "kernel's cache of data": {
    own: `
    put("f", b"one"); fd = os.open(other("f"), os.O_RDONLY); assert os.pread(fd, 9, 0) == b"one"
    put("f", b"two"); assert os.pread(fd, 9, 0) == b"two"`,
    "fuse-native": `
    put("f", b"one"); fd = os.open(other("f"), os.O_RDONLY); assert os.pread(fd, 9, 0) == b"one"
    put("f", b"two"); assert get(other("f")) == b"two" and os.pread(fd, 9, 0) == b"two"`,
  },
  locks: { as: "locks" },
  "ends when unmounted": same(`
    put("f", b"x"); log = second + "/../cluster/log/second.log"
    pid = [json.loads(line)["pid"] for line in open(log) if '"mounted"' in line][-1]
    subprocess.run(["umount", second], check=True)
    while os.path.exists("/proc/%d" % pid): pass`),
};

function same(check: string): Record<Driver, string> {
  return { own: check, "fuse-native": check };
}

const PRELUDE = `
import ctypes, errno, fcntl, json, mmap, os, re, stat, struct, subprocess, sys, urllib.request
libc = ctypes.CDLL(None, use_errno=True)
def checked(result):
    if result != 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def renameat2(a, b, flags): checked(libc.renameat2(-100, a.encode(), -100, b.encode(), flags))
def fallocate(fd, mode, off, size): checked(libc.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(size)))
def put(path, data):
    with open(path, "wb") as f: f.write(data)
def get(path):
    with open(path, "rb") as f: return f.read()
def fails(code, work):
    try: work()
    except OSError as error: assert error.errno == code, error
    else: raise AssertionError("it should have failed with " + errno.errorcode[code])
def nobody(work):
    os.chmod(".", 0o777); child = os.fork()
    if child == 0:
        os.setgroups([]); os.setgid(65534); os.setuid(65534); work(); os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
def acl(*entries): return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *(e + [2**32 - 1])[:3]) for e in entries)
def rival(call, path):
    """Whether another process gets a lock at once."""
    take = "import fcntl, os, sys; fcntl.%s(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)" % call
    return subprocess.run([sys.executable, "-c", take, path], stderr=subprocess.DEVNULL).returncode == 0
def appending(path, mark):
    """A process that appends 50 records of 5000 bytes."""
    child = os.fork()
    if child == 0:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        for _ in range(50): assert os.write(fd, mark * 5000) == 5000
        os._exit(0)
    return child
def mode(path): return stat.S_IMODE(os.stat(path).st_mode)
here, second, http = sys.argv[1:4]
def other(name): return os.path.join(second, os.path.basename(here), name)
def asked(*ops):
    """How often the kernel has asked the second mount."""
    text = urllib.request.urlopen("http://%s/metrics" % http).read().decode()
    found = re.findall(r'^bigfs_mount_operation_seconds_count{op="(.*)"} (\\d+)', text, re.M)
    return sum(int(n) for op, n in found if op in ops)
def asking(work):
    """How often it asks for names and attributes when this is done 100 times."""
    before = asked("lookup", "getattr")
    for _ in range(100): work()
    return asked("lookup", "getattr") - before
os.mkdir(here); os.chdir(here)
`;

/** The first cells of the table under this heading of the README. */
async function rowsUnder(heading: string): Promise<string[]> {
  const readme = await readFile(join(packageRoot, "README.md"), "utf8");
  const table = new RegExp(`## ${heading}\\n(.*?)\\n## `, "s").exec(readme)?.[1] ?? "";
  const rows = table.split("\n").flatMap((line) => /^\| (\S.*?) +\|/.exec(line)?.[1]?.replaceAll("`", "") ?? []);
  return rows.filter((row) => row !== "what" && !row.startsWith("-"));
}

for (const [heading, checks] of [
  ["POSIX", CHECKS],
  ["Two drivers", OF_DRIVERS],
] as const) {
  test(`every row of the README's table "${heading}" has a check`, async (t) => {
    const rows = await rowsUnder(heading);
    t.ok(rows.length > 10, "the table was found");
    const starts = Object.keys(checks);
    t.same(
      rows.filter((row) => !starts.some((start) => row.startsWith(start))),
      [],
      "each row has a check",
    );
    t.same(
      starts.filter((start) => !rows.some((row) => row.startsWith(start))),
      [],
      "each check has a row",
    );
  });
}

for (const driver of DRIVERS) {
  test(`every row of the README's tables is true with the driver ${driver}, or differs as declared`, async (t) => {
    const cluster = await TestCluster.start(t, ["--driver", driver, "--allow-other"]);
    await must("chmod", ["711", cluster.dir]);
    const second = await cluster.mountAgain("second", ["--driver", driver, "--http", "127.0.0.1:0"]);
    const log = await readFile(join(cluster.data, "log/second.log"), "utf8");
    const http = /"http":"([^"]+)"/.exec(log)?.[1] ?? "";
    const own = Object.entries(OF_DRIVERS).flatMap(([row, found]) => ("as" in found ? [] : [[row, found[driver]]]));
    const checks = [...Object.entries({ ...CHECKS, ...DIFFERENT[driver] }), ...own] as [string, string][];
    for (const [index, [row, check]] of checks.entries()) {
      const program = PRELUDE + check.replaceAll("\n    ", "\n");
      await t.resolves(must("python3", ["-c", program, join(cluster.mnt, `check${index}`), second, http]), row);
    }
  });
}
