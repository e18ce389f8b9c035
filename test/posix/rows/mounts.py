"""Two mounts of one filesystem: what one does the other sees. `there` is this folder on the other mount."""

import fcntl
import mmap
import os
import stat

from rows.base import ACCESS, AT_FDCWD, AT_SYMLINK_FOLLOW, DEFAULT, EXCHANGE, GROUP_OBJ, KEEP_SIZE, MASK, NOREPLACE, OTHER
from rows.base import PUNCH_HOLE, USER, USER_OBJ, acl, as_user, child, fails, fallocate, get, linkat, made, mode_of, put
from rows.base import renameat2, row, same, utimensat


@row("two mounts: names that come, go and move are seen at once, whatever was known before")
def _(there):
    for n in range(20):
        fails("ENOENT", os.stat, f"{there}/f")
        put("f", b"%d" % n)
        same(get(f"{there}/f"), b"%d" % n)
        os.rename(f"{there}/f", f"{there}/g")
        fails("ENOENT", os.stat, "f")
        same((get("g"), os.listdir("."), os.listdir(there)), (b"%d" % n, ["g"], ["g"]))
        os.unlink("g")
        same(os.listdir(there), [])
        os.mkdir(f"{there}/d")
        os.mkdir("d/s")
        same(os.stat(f"{there}/d").st_nlink, 3)
        fails("ENOTEMPTY", os.rmdir, f"{there}/d")
        os.rmdir(f"{there}/d/s")
        os.rmdir("d")


@row("two mounts: rename flags, links and their counts")
def _(there):
    put("a", b"a")
    put(f"{there}/b", b"b")
    renameat2("a", "b", EXCHANGE)
    same((get(f"{there}/a"), get(f"{there}/b")), (b"b", b"a"))
    fails("EEXIST", renameat2, f"{there}/a", f"{there}/b", NOREPLACE)
    os.link("a", "c")
    same(os.stat(f"{there}/a").st_nlink, 2)
    os.unlink(f"{there}/a")
    same((os.stat("c").st_nlink, os.stat("c").st_ino), (1, os.stat(f"{there}/c").st_ino))
    os.symlink("c", f"{there}/s")
    same((os.readlink("s"), get("s")), ("c", b"b"))
    os.unlink("s")
    os.symlink("b", "s")
    same(get(f"{there}/s"), b"a")


@row("two mounts: modes, owners, times, lists and attributes are seen at once, and decide at once")
def _(there):
    put("f", b"x")
    for n in range(10):
        mode = 0o600 + n % 8
        os.chmod("f" if n % 2 else f"{there}/f", mode)
        same((mode_of("f"), mode_of(f"{there}/f")), (mode, mode))
    os.chown(f"{there}/f", 1000, 50)
    utimensat("f", (3, 4), (5, 6))
    found = os.stat(f"{there}/f")
    same((os.stat("f").st_uid, os.stat("f").st_gid, found.st_atime_ns, found.st_mtime_ns), (1000, 50, 3_000_000_004, 5_000_000_006))
    os.chmod("f", 0o600)
    as_user(lambda: fails("EACCES", get, f"{there}/f"), 1001, 1001)
    os.setxattr("f", ACCESS, acl((USER_OBJ, 6), (USER, 4, 1001), (GROUP_OBJ, 0), (MASK, 4), (OTHER, 0)))
    as_user(lambda: same(get(f"{there}/f"), b"x"), 1001, 1001)
    os.removexattr(f"{there}/f", ACCESS)
    os.chmod(f"{there}/f", 0o600)
    as_user(lambda: fails("EACCES", get, "f"), 1001, 1001)
    os.setxattr("f", "user.a", b"1")
    same((os.getxattr(f"{there}/f", "user.a"), os.listxattr(f"{there}/f")), (b"1", ["user.a"]))
    os.setxattr(f"{there}/f", "user.a", b"22")
    same(os.getxattr("f", "user.a"), b"22")
    os.removexattr("f", "user.a")
    fails("ENODATA", os.getxattr, f"{there}/f", "user.a")
    default = acl((USER_OBJ, 7), (USER, 7, 1001), (GROUP_OBJ, 0), (MASK, 7), (OTHER, 0))
    os.setxattr(".", DEFAULT, default)
    put(f"{there}/g", b"", 0o666)
    same(os.getxattr("g", ACCESS), acl((USER_OBJ, 6), (USER, 7, 1001), (GROUP_OBJ, 0), (MASK, 6), (OTHER, 0)))


@row("two mounts: an open file stays usable when the other unlinks it, replaces it, or removes its folder")
def _(there):
    os.mkdir("d")
    fd = made("d/f")
    os.write(fd, b"still")
    os.fsync(fd)
    os.unlink(f"{there}/d/f")
    os.rmdir(f"{there}/d")
    os.write(fd, b" here" * 100_000)
    same((os.pread(fd, 10, 0), os.fstat(fd).st_nlink, os.fstat(fd).st_size), (b"still here", 0, 500_005))
    os.ftruncate(fd, 3)
    os.fsync(fd)
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    os.close(fd)
    same(os.pread(again, 9, 0), b"sti")
    kept = made("g")
    os.write(kept, b"old")
    put(f"{there}/new", b"new")
    os.rename(f"{there}/new", f"{there}/g")
    same((os.pread(kept, 9, 0), get("g"), os.fstat(kept).st_nlink), (b"old", b"new", 0))


@row("two mounts: what one closed the other reads when it opens, longer, shorter, and with holes")
def _(there):
    for n in range(20):
        data = b"%d" % n * (1 + n * 4999 % 30_000)
        put("f" if n % 2 else f"{there}/f", data)
        same((get("f") == data, get(f"{there}/f") == data, os.stat("f").st_size), (True, True, len(data)))
    fd = os.open("f", os.O_RDWR)
    os.ftruncate(fd, 2 << 20)
    os.pwrite(fd, b"end", 2 << 20)
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 4096)
    os.close(fd)
    other = os.open(f"{there}/f", os.O_RDONLY)
    same((os.pread(other, 4, 0), os.pread(other, 9, 2 << 20)), (bytes(4), b"end"))
    same(os.stat(f"{there}/f").st_blocks, os.stat("f").st_blocks)


@row("two mounts: of a file that both have open, what one writes or cuts the other sees at once")
def _(there):
    ours, theirs = made("f"), os.open(f"{there}/f", os.O_RDWR)
    for n in range(30):
        one, other, path = (ours, theirs, f"{there}/f") if n % 2 else (theirs, ours, "f")
        os.pwrite(one, b"%03d" % n, n * 3)
        same((os.pread(other, 9, n * 3), os.fstat(other).st_size), (b"%03d" % n, n * 3 + 3))
        same((get(path)[n * 3 :], os.stat(path).st_size), (b"%03d" % n, n * 3 + 3))
    os.ftruncate(ours, 10)
    same((os.fstat(theirs).st_size, os.pread(theirs, 99, 6)), (10, b"0020"))


@row("two mounts: a mapping for reading shows what the other wrote and closed, once the file is opened again")
def _(there):
    put("f", b"old" * 5000)
    fd = os.open(f"{there}/f", os.O_RDONLY)
    mapped = mmap.mmap(fd, 15_000, mmap.MAP_SHARED, mmap.PROT_READ)
    same(mapped[:3], b"old")
    writer = os.open("f", os.O_RDWR)
    os.pwrite(writer, b"new" * 5000, 0)
    os.close(writer)
    os.close(os.open(f"{there}/f", os.O_RDONLY))
    same((mapped[:3], mapped[-3:]), (b"new", b"new"))


@row("two mounts: what one wrote through a shared mapping and synchronised the other reads")
def _(there):
    put("f", bytes(8192))
    fd = os.open("f", os.O_RDWR)
    with mmap.mmap(fd, 8192) as mapped:
        mapped[5000:5006] = b"mapped"
        mapped.flush()
    os.fsync(fd)
    same(get(f"{there}/f")[5000:5006], b"mapped")
    os.close(fd)
    put(f"{there}/f", b"short")
    same(get("f"), b"short")


@row("two mounts: locks of one exclude the other, and what is written under them is read under them")
def _(there):
    put("f", b"0")

    def count(path):
        for _ in range(25):
            fd = os.open(path, os.O_RDWR)
            fcntl.lockf(fd, fcntl.LOCK_EX)
            number = int(os.pread(fd, 99, 0)) + 1
            os.pwrite(fd, b"%d" % number, 0)
            fcntl.lockf(fd, fcntl.LOCK_UN)
            os.close(fd)
        os._exit(0)

    children = []
    for path in ("f", f"{there}/f"):
        children.append(os.fork())
        if children[-1] == 0:
            count(path)
    same([os.waitpid(pid, 0)[1] for pid in children], [0, 0])
    same((get("f"), get(f"{there}/f")), (b"50", b"50"))


@row("two mounts: of many that make one name, or one folder, exactly one succeeds")
def _(there):
    for n in range(10):
        made_by = []
        for path in (f"x{n}", f"{there}/x{n}"):
            hear, tell = os.pipe()
            pid = os.fork()
            if pid == 0:
                try:
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                    os.write(tell, b"1")
                except FileExistsError:
                    os.write(tell, b"0")
                os._exit(0)
            made_by.append((pid, hear))
        for pid, _ in made_by:
            os.waitpid(pid, 0)
        same(sorted(os.read(hear, 1) for _, hear in made_by), [b"0", b"1"])


@row("two mounts: special nodes are the same on both, pipes join processes of one mount")
def _(there):
    os.mknod("c", stat.S_IFCHR | 0o600, os.makedev(9, 300))
    same((os.stat(f"{there}/c").st_rdev, mode_of(f"{there}/c")), (os.makedev(9, 300), 0o600))
    os.mkfifo(f"{there}/p")
    reader = os.open("p", os.O_RDONLY | os.O_NONBLOCK)
    os.write(os.open("p", os.O_WRONLY), b"x")
    same(os.read(reader, 9), b"x")


@row("two mounts: a copied range and a nameless file that gets a name are there")
def _(there):
    data = os.urandom(300_000)
    put("a", data)
    source, into = os.open(f"{there}/a", os.O_RDONLY), made(f"{there}/b")
    done = 0
    while done < len(data):
        done += os.copy_file_range(source, into, len(data) - done)
    os.close(into)
    same(get("b") == data, True)
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"named")
    linkat(AT_FDCWD, f"/proc/self/fd/{fd}", "n", AT_SYMLINK_FOLLOW)
    os.close(fd)
    same(get(f"{there}/n"), b"named")
    same(child(lambda: same(sorted(os.listdir(there)), ["a", "b", "n"])), 0)
