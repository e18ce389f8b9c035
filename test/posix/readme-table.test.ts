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
    s = os.stat("f"); assert (s.st_atime_ns, s.st_mtime_ns) == (1234567891234567891, 987654321987654321)`,
  rename: `
    os.mkdir("a"); os.mkdir("b"); put("a/f", b"1"); put("b/f", b"2")
    fails(errno.EEXIST, lambda: renameat2("a/f", "b/f", 1))
    renameat2("a/f", "b/f", 2); assert get("a/f") == b"2" and get("b/f") == b"1"
    os.rename("a/f", "b/f"); assert get("b/f") == b"2" and os.listdir("a") == []`,
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
    rival = "import fcntl,os; fcntl.%s(os.open('f', os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    assert subprocess.run([sys.executable, "-c", rival % "flock"], stderr=subprocess.DEVNULL).returncode != 0
    assert subprocess.run([sys.executable, "-c", rival % "lockf"]).returncode == 0
    fcntl.lockf(fd, fcntl.LOCK_EX)
    assert subprocess.run([sys.executable, "-c", rival % "lockf"], stderr=subprocess.DEVNULL).returncode != 0
    os.close(fd)`,
  "data written on one mount": `
    put("f", b"one"); assert get(other("f")) == b"one"
    put(other("f"), b"other"); assert get("f") == b"other"`,
  O_APPEND: `
    for n in range(20):
        with open("f" if n % 2 else other("f"), "ab") as f: f.write(b"%02d" % n)
    assert get("f") == b"".join(b"%02d" % n for n in range(20))`,
  O_TMPFILE: `
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640); os.write(fd, b"whole"); assert os.listdir(".") == []
    checked(libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, b"f", 0x400)); os.close(fd); assert get(other("f")) == b"whole"`,
  "sync(1)": `
    put("f", b"x"); os.sync(); assert get("f") == b"x"`,
};

/** What a driver does otherwise than the table says: checked like the rest. */
const DIFFERENT: Readonly<Record<Driver, Readonly<Record<string, string>>>> = {
  own: {},
  "fuse-native": {
    O_TMPFILE: `
    fails(errno.EOPNOTSUPP, lambda: os.open(".", os.O_TMPFILE | os.O_RDWR))`,
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

const PRELUDE = `
import ctypes, errno, fcntl, mmap, os, stat, struct, subprocess, sys
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
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
def acl(*entries): return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *(e + [2**32 - 1])[:3]) for e in entries)
def mode(path): return stat.S_IMODE(os.stat(path).st_mode)
here, second = sys.argv[1:3]
def other(name): return os.path.join(second, os.path.basename(here), name)
os.mkdir(here); os.chdir(here)
`;

test("every row of the README's table has a check", async (t) => {
  const readme = await readFile(join(packageRoot, "README.md"), "utf8");
  const table = /## POSIX\n(.*?)\n## /s.exec(readme)?.[1] ?? "";
  const rows = table.split("\n").flatMap((line) => /^\| (\S.*?) +\|/.exec(line)?.[1]?.replaceAll("`", "") ?? []);
  const named = rows.filter((row) => row !== "what" && !row.startsWith("-"));
  t.ok(named.length > 10, "the table was found");
  t.same(
    named.filter((row) => !Object.keys(CHECKS).some((start) => row.startsWith(start))),
    [],
    "each row has a check",
  );
});

for (const driver of DRIVERS) {
  test(`every row of the README's table is true with the driver ${driver}, or differs as declared`, async (t) => {
    const cluster = await TestCluster.start(t, ["--driver", driver]);
    const second = await cluster.mountAgain("second", ["--driver", driver]);
    for (const [index, [row, check]] of Object.entries({ ...CHECKS, ...DIFFERENT[driver] }).entries()) {
      const program = PRELUDE + check.replaceAll("\n    ", "\n");
      await t.resolves(must("python3", ["-c", program, join(cluster.mnt, `check${index}`), second]), row);
    }
  });
}
