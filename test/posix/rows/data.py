"""Reading and writing: appends, vectors, copies between files, pipes."""

import ctypes
import fcntl
import os
import struct

from rows.base import AT_FDCWD, as_user, checked, child, fails, get, libc, made, put, row, same

APPEND = os.O_WRONLY | os.O_APPEND
FICLONE, FICLONERANGE = 0x40049409, 0x4020940D


@row("O_APPEND: writes go to the end, wherever the offset is, also pwrite, and as fcntl sets and clears it")
def _():
    put("f", b"start")
    fd = os.open("f", os.O_RDWR | os.O_APPEND)
    same(os.pread(fd, 9, 0), b"start")
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"1")
    same(os.lseek(fd, 0, os.SEEK_CUR), 6)
    os.pwrite(fd, b"2", 0)
    os.pwritev(fd, [b"3", b"4"], 1)
    same(get("f"), b"start1234")
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    os.pwrite(fd, b"S", 0)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    os.pwrite(fd, b"5", 0)
    same(get("f"), b"Start12345")
    os.ftruncate(fd, 2)
    os.write(fd, b"!")
    same(get("f"), b"St!")


@row("O_APPEND: of several processes on one mount no record is lost or torn")
def _():
    os.close(made("f"))
    children = []
    for which in range(5):
        children.append(os.fork())
        if children[-1] == 0:
            fd = os.open("f", APPEND)
            for n in range(200):
                os.write(fd, f"{which} {n:04} ".encode() + bytes([97 + which]) * (n * 37 % 900) + b"\n")
            os._exit(0)
    same([os.waitpid(pid, 0)[1] for pid in children], [0] * 5)
    lines = get("f").decode().splitlines()
    expected = [f"{w} {n:04} " + chr(97 + w) * (n * 37 % 900) for w in range(5) for n in range(200)]
    same(len(lines), 1000)
    same(sorted(lines), expected)
    for which in range(5):
        own = [line for line in lines if line.startswith(f"{which} ")]
        same(own, sorted(own))


@row("O_APPEND: two descriptors of one process, in turns, with other writes between")
def _():
    one, two, other = made("f", os.O_CREAT | APPEND), made("f", APPEND), made("f", os.O_RDWR)
    for n in range(50):
        os.write(one if n % 2 else two, b"%02d" % n)
    os.pwrite(other, b"XX", 0)
    os.pwrite(other, b"YY", 110)
    os.write(one, b"Z")
    same(get("f"), b"XX" + b"".join(b"%02d" % n for n in range(1, 50)) + bytes(10) + b"YYZ")


@row("reading and writing: vectors, short at the end, of no bytes, of a folder EISDIR")
def _():
    fd = made("f")
    same(os.writev(fd, [b"one", b"", b"two" * 1000]), 3003)
    first, second = bytearray(3), bytearray(5000)
    same((os.preadv(fd, [first, second], 0), bytes(first), bytes(second[:6])), (3003, b"one", b"twotwo"))
    same((os.pread(fd, 100, 3003), os.pread(fd, 0, 0), os.write(fd, b""), os.pread(fd, 9, 1 << 50)), (b"", b"", 0, b""))
    same(os.fstat(fd).st_size, 3003)
    fails("EISDIR", os.read, os.open(".", os.O_RDONLY), 9)
    fails("EFAULT", lambda: checked(libc.pwrite(fd, ctypes.c_void_p(8), ctypes.c_size_t(5), ctypes.c_long(0))))
    same(get("f")[:6], b"onetwo")


@row("what one process writes another reads at once, of one mount")
def _():
    fd = made("f")
    for n in range(20):
        os.pwrite(fd, b"%03d" % n * 1000, n * 1000)
        same(child(lambda n=n: same(get("f")[n * 1000 :], b"%03d" % n * 1000)), 0)


@row("copy_file_range: also over itself, and to another place; sizes and offsets as asked")
def _():
    data = os.urandom(3 << 20)
    put("a", data)
    a, b = os.open("a", os.O_RDWR), made("b")
    done = 0
    while done < len(data):
        done += os.copy_file_range(a, b, len(data) - done)
    same((get("b") == data, os.lseek(a, 0, os.SEEK_CUR), os.copy_file_range(a, b, 10)), (True, len(data), 0))
    same(os.copy_file_range(a, b, 1000, 777, 5 << 20), 1000)
    same((os.fstat(b).st_size, os.pread(b, 1000, 5 << 20)), ((5 << 20) + 1000, data[777:1777]))
    same(os.copy_file_range(a, a, 1000, 0, 1000), 1000)
    same(os.pread(a, 1000, 1000), data[:1000])
    same(os.copy_file_range(a, b, 1 << 30, len(data) - 10, 0), 10)
    same(os.pread(b, 11, 0), data[-10:] + data[10:11])
    os.pwrite(a, b"fresh", 0)
    os.copy_file_range(a, b, 5, 0, 0)
    same(os.pread(b, 5, 0), b"fresh")


@row("copy_file_range: what overlaps EINVAL, of folders EISDIR, appending EBADF, flags EINVAL")
def _():
    put("a", b"x" * 10_000)
    a, b = os.open("a", os.O_RDWR), made("b")
    fails("EINVAL", os.copy_file_range, a, a, 1000, 0, 999)
    fails("EINVAL", os.copy_file_range, a, a, 1000, 999, 0)
    folder = os.open(".", os.O_RDONLY)
    fails("EISDIR", os.copy_file_range, folder, b, 10)
    fails("EBADF EISDIR", os.copy_file_range, a, folder, 10)
    fails("EBADF", os.copy_file_range, a, os.open("b", APPEND), 10)
    fails("EBADF", os.copy_file_range, a, os.open("a", os.O_RDONLY), 10)
    fails("EBADF", os.copy_file_range, os.open("b", os.O_WRONLY), b, 10)
    hear, tell = os.pipe()
    fails("EINVAL", os.copy_file_range, a, tell, 10)
    fails("EINVAL", lambda: checked(libc.copy_file_range(a, None, b, None, 10, 1)))
    fails("EFBIG", os.copy_file_range, a, b, 10, 0, (1 << 62))
    os.close(hear)
    same(os.fstat(b).st_size, 0)


@row("reflinks (FICLONE, FICLONERANGE) are EOPNOTSUPP, also between filesystems EXDEV")
def _():
    put("a", b"x" * 8192)
    a, b = os.open("a", os.O_RDWR), made("b")
    fails("EOPNOTSUPP", fcntl.ioctl, b, FICLONE, a)
    fails("EOPNOTSUPP", fcntl.ioctl, b, FICLONERANGE, struct.pack("qQQQ", a, 0, 4096, 0))
    fails("EXDEV EOPNOTSUPP", fcntl.ioctl, b, FICLONE, os.open("/dev/null", os.O_RDONLY))
    fails("ENOTTY", fcntl.ioctl, b, 0x5401, bytes(64))
    same(os.fstat(b).st_size, 0)


@row("sendfile, splice, tee by a pipe: into and out of files")
def _():
    data = os.urandom(200_000)
    put("a", data)
    a, b, c = os.open("a", os.O_RDONLY), made("b"), made("c")
    sent = 0
    while sent < len(data):
        sent += os.sendfile(b, a, sent, len(data) - sent)
    same(get("b") == data, True)
    hear, tell = os.pipe()
    done = 0
    while done < len(data):
        moved = os.splice(a, tell, 65536, offset_src=done)
        while moved:
            part = os.splice(hear, c, moved)
            moved, done = moved - part, done + part
    same(get("c") == data, True)
    os.write(tell, b"over")
    same(os.splice(hear, c, 4, offset_dst=3), 4)
    same(os.pread(c, 9, 0), data[:3] + b"over" + data[7:9])
    os.write(tell, b"more")
    fails("EINVAL", os.splice, hear, os.open("b", APPEND), 4)


@row("programs: are run from the folder, and one that runs is ETXTBSY to writers")
def _():
    put("run", get("/bin/sleep"), 0o755)
    put("script", b"#!/bin/sh\nexit 7\n", 0o755)
    same(os.waitstatus_to_exitcode(child(lambda: os.execv("./script", ["script"]))), 7)
    pid = os.fork()
    if pid == 0:
        os.execv("./run", ["run", "1000"])
    while os.readlink(f"/proc/{pid}/exe") != os.path.realpath("run"):
        pass
    fails("ETXTBSY", os.open, "run", os.O_WRONLY)
    fails("ETXTBSY", os.truncate, "run", 0)
    os.unlink("run")
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.chmod("script", 0o644)
    as_user(lambda: fails("EACCES", os.execv, "./script", ["script"]))
    fails("EACCES", os.execv, "./script", ["script"])
    put("writing", get("/bin/sleep"), 0o755)
    fd = os.open("writing", os.O_WRONLY)
    fails("ETXTBSY", os.execv, "./writing", ["writing", "0"])
    os.close(fd)
    checked(libc.faccessat(AT_FDCWD, b"writing", os.X_OK, 0))
