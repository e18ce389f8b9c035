"""open(2) and its flags, files without a name, files that were unlinked."""

import ctypes
import mmap
import os
import stat

from rows.base import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, as_user, child, checked, fails, get, libc, linkat, made
from rows.base import mode_of, put, row, same, true


@row("open: O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW on what is and is not there")
def _():
    put("f", b"content")
    os.mkdir("d")
    os.symlink("f", "s")
    os.symlink("d", "t")
    os.symlink("nowhere", "n")
    fails("EEXIST", os.open, "f", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    fails("EEXIST", os.open, "n", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    fails("EEXIST", os.open, "d", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    fails("EISDIR", os.open, "d", os.O_RDWR)
    fails("EISDIR", os.open, "d", os.O_CREAT | os.O_RDONLY)
    fails("ENOTDIR", os.open, "f", os.O_DIRECTORY | os.O_RDONLY)
    fails("ENOTDIR ELOOP", os.open, "t", os.O_DIRECTORY | os.O_NOFOLLOW | os.O_RDONLY)
    fails("ELOOP", os.open, "s", os.O_NOFOLLOW | os.O_RDONLY)
    fails("EINVAL", os.open, "new", os.O_CREAT | os.O_DIRECTORY | os.O_RDWR)
    fails("ENOENT", os.open, "no", os.O_RDWR)
    os.close(os.open("s", os.O_WRONLY | os.O_TRUNC))
    same((get("f"), os.stat("f").st_size), (b"", 0))
    put("f", b"again")
    os.close(os.open("f", os.O_RDONLY | os.O_TRUNC))
    same(get("f"), b"")
    os.close(os.open("n", os.O_CREAT | os.O_RDWR))
    true(os.path.exists("nowhere"))


@row("open: modes are those that were asked for, without the umask; a file of mode 0 can be written by who made it")
def _():
    os.umask(0o027)

    def user():
        fd = made("f", mode=0)
        os.write(fd, b"x")
        same((os.pread(fd, 9, 0), mode_of("f")), (b"x", 0))
        fails("EACCES", os.open, "f", os.O_RDONLY)
        os.close(made("g", mode=0o7777))
        os.mkdir("d", 0o3777)
        same((mode_of("g"), mode_of("d")), (0o7750, 0o1750))

    as_user(user)


@row("open: what the descriptor was not opened for is EBADF")
def _():
    put("f", b"x")
    reading, writing, path = (os.open("f", flags) for flags in (os.O_RDONLY, os.O_WRONLY, os.O_PATH))
    fails("EBADF", os.write, reading, b"x")
    fails("EINVAL", os.ftruncate, reading, 0)
    fails("EBADF", os.read, writing, 1)
    for call, *args in [(os.read, 1), (os.write, b"x"), (os.fchmod, 0), (os.fchown, 0, 0), (os.getxattr, "user.x")]:
        fails("EBADF", call, path, *args)
    fails("EBADF EINVAL", os.ftruncate, path, 0)
    same(os.fstat(path).st_size, 1)


@row("O_PATH: of a link, a folder, and opened again by /proc")
def _():
    put("f", b"x")
    os.symlink("f", "s")
    os.mkdir("d")
    put("d/in", b"in")
    link = os.open("s", os.O_PATH | os.O_NOFOLLOW)
    same((stat.S_ISLNK(os.fstat(link).st_mode), os.readlink(b"", dir_fd=link)), (True, b"f"))
    folder = os.open("d", os.O_PATH | os.O_DIRECTORY)
    same(os.read(os.open("in", os.O_RDONLY, dir_fd=folder), 9), b"in")
    path = os.open("f", os.O_PATH)
    os.rename("f", "g")
    again = os.open(f"/proc/self/fd/{path}", os.O_RDWR)
    os.unlink("g")
    last = os.open(f"/proc/self/fd/{path}", os.O_RDWR)
    os.pwrite(last, b"yz", 1)
    same((os.pread(again, 9, 0), os.fstat(path).st_nlink), (b"xyz", 0))


@row("O_PATH: an unlinked file that nobody has open is opened by /proc")
def _():
    put("f", b"x")
    path = os.open("f", os.O_PATH)
    os.unlink("f")
    same(os.read(os.open(f"/proc/self/fd/{path}", os.O_RDONLY), 9), b"x")


@row("O_DIRECT: aligned reads and writes see and change what others read and write")
def _():
    put("f", b"a" * 8192)
    fd = os.open("f", os.O_RDWR | os.O_DIRECT)
    block = mmap.mmap(-1, 4096)
    same((os.preadv(fd, [block], 4096), block[:]), (4096, b"a" * 4096))
    block[:] = b"b" * 4096
    same(os.pwritev(fd, [block], 0), 4096)
    same(get("f"), b"b" * 4096 + b"a" * 4096)
    same(os.pwritev(fd, [block], 8192), 4096)
    same((os.stat("f").st_size, os.preadv(fd, [block], 12288)), (12288, 0))
    other = os.open("f", os.O_RDWR)
    os.pwrite(other, b"c" * 4096, 4096)
    same((os.preadv(fd, [block], 4096), block[:]), (4096, b"c" * 4096))


@row("O_DIRECT: several processes that make a file longer lose nothing")
def _():
    os.close(made("f"))

    def writer(which):
        fd = os.open("f", os.O_RDWR | os.O_DIRECT)
        block = mmap.mmap(-1, 4096)
        block[:] = bytes([65 + which]) * 4096
        for n in range(which, 256, 4):
            same(os.pwritev(fd, [block], n * 4096), 4096)
        os._exit(0)

    children = []
    for which in range(4):
        children.append(os.fork())
        if children[-1] == 0:
            writer(which)
    same([os.waitpid(pid, 0)[1] for pid in children], [0] * 4)
    same(get("f"), b"".join(bytes([65 + n % 4]) * 4096 for n in range(256)))


@row("O_SYNC, O_DSYNC, fsync, fdatasync, sync_file_range, syncfs, and fsync of folders")
def _():
    for index, flag in enumerate((os.O_SYNC, os.O_DSYNC, os.O_RSYNC)):
        fd = made(f"f{index}", os.O_RDWR | os.O_CREAT | flag)
        os.write(fd, b"x" * 100_000)
        os.fsync(fd)
        os.fdatasync(fd)
        same(libc.sync_file_range(fd, ctypes.c_long(0), ctypes.c_long(0), 7), 0)
        same(get(f"f{index}"), b"x" * 100_000)
    folder = os.open(".", os.O_RDONLY)
    os.fsync(folder)
    os.fdatasync(folder)
    same(libc.syncfs(folder), 0)
    os.mkdir("gone")
    gone = os.open("gone", os.O_RDONLY)
    os.rmdir("gone")
    os.fsync(gone)
    fails("EBADF", os.fsync, os.open("f0", os.O_PATH))
    os.mkfifo("p")
    fails("EINVAL", os.fsync, os.open("p", os.O_RDWR))


@row("O_TMPFILE: nameless until it is linked, never with O_EXCL; with umask, owner and set-group-id of its folder")
def _():
    os.umask(0o027)
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o666)
    os.write(fd, b"whole")
    found = os.fstat(fd)
    same((os.listdir("."), found.st_nlink, stat.S_IMODE(found.st_mode), found.st_size), ([], 0, 0o640, 5))
    linkat(fd, "", "f", AT_EMPTY_PATH)
    same((get("f"), os.fstat(fd).st_nlink), (b"whole", 1))
    hidden = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
    fails("ENOENT", linkat, AT_FDCWD, f"/proc/self/fd/{hidden}", "g", AT_SYMLINK_FOLLOW)
    fails("EINVAL", os.open, ".", os.O_TMPFILE | os.O_RDONLY)
    fails("ENOTDIR", os.open, "f", os.O_TMPFILE | os.O_RDWR)
    os.mkdir("d")
    os.chown("d", 0, 50)
    os.chmod("d", 0o2777)

    def user():
        fd = os.open("d", os.O_TMPFILE | os.O_RDWR, 0o644)
        same((os.fstat(fd).st_uid, os.fstat(fd).st_gid), (1000, 50))
        linkat(AT_FDCWD, f"/proc/self/fd/{fd}", "d/mine", AT_SYMLINK_FOLLOW)

    as_user(user)
    same(os.stat("d/mine").st_nlink, 1)
    os.chmod("d", 0o755)
    as_user(lambda: fails("EACCES", os.open, "d", os.O_TMPFILE | os.O_RDWR))


@row("unlinked files that are open: read, write, cut, reserve, change, stat, map, open again")
def _():
    fd = made("f")
    os.write(fd, b"x" * 300_000)
    os.unlink("f")
    os.pwrite(fd, b"end", 400_000)
    same((os.fstat(fd).st_size, os.fstat(fd).st_nlink, os.pread(fd, 3, 400_000)), (400_003, 0, b"end"))
    os.ftruncate(fd, 100)
    os.posix_fallocate(fd, 0, 5000)
    os.fchmod(fd, 0o600)
    os.fchown(fd, 5, 6)
    os.utime(fd, ns=(1, 2))
    os.setxattr(fd, "user.x", b"v")
    found = os.fstat(fd)
    same((found.st_size, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns), (5000, 0o600, 5, 6, 2))
    same((os.getxattr(fd, "user.x"), os.pread(fd, 200, 0)), (b"v", b"x" * 100 + bytes(100)))
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    os.fsync(fd)
    os.close(fd)
    with mmap.mmap(again, 5000) as mapped:
        mapped[0:3] = b"map"
    same(os.pread(again, 4, 0), b"mapx")
    put("f", b"another")
    same(os.fstat(again).st_size, 5000)


@row("unlinked files that are open stay with a child that has them, when their parent has gone")
def _():
    hear, tell = os.pipe()
    fd = made("f")
    os.write(fd, b"kept")
    os.unlink("f")
    pid = os.fork()
    if pid == 0:
        os.close(tell)
        os.read(hear, 1)
        os._exit(0 if os.pread(fd, 9, 0) == b"kept" else 1)
    os.close(fd)
    os.close(hear)
    os.close(tell)
    same(os.waitpid(pid, 0)[1], 0)


@row("descriptors: duplicates share their offset, others do not; after exec what is not O_CLOEXEC goes on")
def _():
    put("f", b"0123456789")
    one = os.open("f", os.O_RDONLY)
    two, three = os.dup(one), os.open("f", os.O_RDONLY)
    same((os.read(one, 3), os.read(two, 3), os.read(three, 3)), (b"012", b"345", b"012"))
    same(os.lseek(one, -1, os.SEEK_END), 9)
    fails("EINVAL", os.lseek, one, -11, os.SEEK_END)
    fails("EINVAL", os.lseek, one, 0, 9)
    os.set_inheritable(one, True)
    same(child(lambda: os.execv("/bin/sh", ["sh", "-c", f"read x <&{one}; [ \"$x\" = 9 ]"])), 0)


@row("statvfs: counts that fit together, the longest name, and what another file takes")
def _():
    found = os.statvfs(".")
    true(0 < found.f_bavail <= found.f_bfree <= found.f_blocks)
    true(0 < found.f_ffree <= found.f_files)
    same((found.f_namemax, found.f_frsize), (255, 4096))
    put("f", os.urandom(1 << 20))
    same(os.statvfs("f").f_blocks, found.f_blocks)
    same(os.fstatvfs(os.open("f", os.O_RDONLY)).f_namemax, 255)


@row("statx: of what exists, with the time of its birth, which nothing changes")
def _():
    def statx(path, mask=0xFFF, flags=0):
        buffer = ctypes.create_string_buffer(256)
        checked(libc.statx(AT_FDCWD, path.encode(), flags, mask, buffer))
        seen = memoryview(buffer.raw)
        word = lambda at: int.from_bytes(seen[at : at + 4], "little")
        long = lambda at: int.from_bytes(seen[at : at + 8], "little")
        return {"mask": word(0), "nlink": word(16), "ino": long(32), "size": long(40), "blocks": long(48), "birth": (long(80), word(88))}

    put("f", b"x" * 5000)
    found, plain = statx("f"), os.stat("f")
    same(found["mask"] & 0xFFF, 0xFFF)
    same((found["ino"], found["size"], found["nlink"], found["blocks"]), (plain.st_ino, 5000, 1, plain.st_blocks))
    birth = found["birth"]
    true(abs(birth[0] - plain.st_mtime) < 100)
    os.utime("f", (1, 1))
    os.rename("f", "g")
    put("g", b"")
    same(statx("g")["birth"], birth)
    os.symlink("g", "s")
    same((statx("s", flags=0x100)["size"], statx("s")["birth"]), (1, birth))
    os.mkdir("d")
    true(statx("d")["mask"] & 0x800)
    fails("ENOENT", statx, "no")
    fails("EINVAL", statx, "g", 1 << 31)
