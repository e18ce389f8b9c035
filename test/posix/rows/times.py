"""Times of files: what sets them, how exactly, and from when to when."""

import os
import time

from rows.base import UTIME_NOW, UTIME_OMIT, as_user, fails, get, made, put, row, same, true, utimensat

SECOND = 1_000_000_000


def times(path):
    found = os.lstat(path)
    return found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns


def tick():
    """Returns when a file that is changed now has another time than one that was changed before."""
    put("../tick", b"")
    before = os.stat("../tick").st_mtime_ns
    while os.stat("../tick").st_mtime_ns <= before + 10_000_000:
        put("../tick", b"")


def moved(path, work):
    """Which of atime, mtime and ctime grow by this."""
    before = times(path)
    tick()
    work()
    return "".join(name for name, old, new in zip("amc", before, times(path)) if new > old)


@row("times: to the nanosecond, before 1970, after 2038 and until 2446")
def _():
    put("f", b"")
    for sec, nsec in [(0, 0), (0, 1), (1, 999_999_999), (-1, 999_999_999), (-(2**31), 0), (2**31, 5), (2**32 + 7, 123_456_789), (15_032_385_535, 0)]:
        utimensat("f", (sec, nsec), (sec, nsec))
        same(times("f")[:2], (sec * SECOND + nsec,) * 2)
    os.symlink("f", "s")
    os.utime("s", ns=(-5, 7), follow_symlinks=False)
    same((times("s")[:2], times("f")[0]), ((-5, 7), 15_032_385_535 * SECOND))


@row("times: UTIME_OMIT leaves one, UTIME_NOW sets one to now, both omitted nothing; wrong nanoseconds EINVAL")
def _():
    put("f", b"")
    utimensat("f", (5, 5), (7, 7))
    utimensat("f", (0, UTIME_OMIT), (9, 9))
    same(times("f")[:2], (5 * SECOND + 5, 9 * SECOND + 9))
    utimensat("f", (6, 6), (0, UTIME_OMIT))
    same(times("f")[:2], (6 * SECOND + 6, 9 * SECOND + 9))
    same(moved("f", lambda: utimensat("f", (0, UTIME_OMIT), (0, UTIME_OMIT))), "")
    utimensat("f", (0, UTIME_NOW), (0, UTIME_OMIT))
    true(abs(times("f")[0] / SECOND - time.time()) < 100 and times("f")[1] == 9 * SECOND + 9)
    fails("EINVAL", utimensat, "f", (0, SECOND), (0, 0))
    fails("ENOENT", utimensat, "no", (0, 0), (0, 0))


@row("times: now may be set by who may write, others only by the owner")
def _():
    put("f", b"", 0o644)
    os.chmod("f", 0o666)

    def user():
        os.utime("f")
        fails("EPERM", os.utime, "f", (1, 1))
        fails("EPERM", utimensat, "f", (0, UTIME_NOW), (0, UTIME_OMIT))

    as_user(user)
    os.chmod("f", 0o644)
    as_user(lambda: fails("EACCES", os.utime, "f"))


@row("times: of a file, by what is done to it")
def _():
    fd = made("f")
    os.write(fd, b"x" * 100)
    os.mkdir("d")
    same(moved("f", lambda: os.pwrite(fd, b"y", 0)), "mc")
    same(moved("f", lambda: os.ftruncate(fd, 50)), "mc")
    same(moved("f", lambda: os.truncate("f", 50)), "mc")
    same(moved("f", lambda: os.close(os.open("f", os.O_WRONLY | os.O_TRUNC))), "mc")
    same(moved("f", lambda: os.posix_fallocate(fd, 0, 100)), "mc")
    same(moved("f", lambda: os.chmod("f", 0o600)), "c")
    same(moved("f", lambda: os.chown("f", 1, 1)), "c")
    same(moved("f", lambda: os.utime("f", (1, 1))), "c")
    same(moved("f", lambda: os.setxattr("f", "user.x", b"v")), "c")
    same(moved("f", lambda: os.removexattr("f", "user.x")), "c")
    same(moved("f", lambda: os.link("f", "g")), "c")
    same(moved("g", lambda: os.rename("f", "h")), "c")
    same(moved("h", lambda: os.unlink("g")), "c")
    same(moved("h", lambda: os.write(fd, b"")), "")
    same(moved("h", lambda: os.close(os.open("h", os.O_RDWR))), "")


@row("times: of a folder, by what happens in it")
def _():
    os.mkdir("d")
    os.mkdir("e")
    put("o", b"")
    for work in (
        lambda: put("d/f", b""), lambda: os.mkdir("d/s"), lambda: os.symlink("x", "d/l"), lambda: os.link("o", "d/o"),
        lambda: os.rename("d/f", "d/g"), lambda: os.rename("d/g", "e/g"), lambda: os.rename("e/g", "d/g"),
        lambda: os.unlink("d/g"), lambda: os.rmdir("d/s"),
    ):
        same(moved("d", work), "mc")
    put("d/f", b"")
    same(moved("d", lambda: put("d/f", b"more")), "")
    same(moved("d", lambda: os.chmod("d/f", 0)), "")
    same(moved("d", lambda: os.chmod("d", 0o700)), "c")


@row("times: atime is relatime: moved by the first read after a change, not by the next")
def _():
    put("f", b"x" * 10)
    utimensat("f", (1, 0), (2, 0))
    same(moved("f", lambda: get("f")), "a")
    same(moved("f", lambda: get("f")), "")


@row("times: atime stays with O_NOATIME, and where it is later than the other times")
def _():
    put("g", b"x")
    fd = os.open("g", os.O_RDONLY | os.O_NOATIME)
    utimensat("g", (1, 0), (2, 0))
    same(moved("g", lambda: os.read(fd, 1)), "")
    utimensat("g", (time.time_ns() // SECOND + 3600, 0), (0, UTIME_OMIT))
    same(moved("g", lambda: get("g")), "")


@row("times: a file that is written has the time of the write, not that of the close")
def _():
    fd = made("f")
    tick()
    os.write(fd, b"x")
    written = times("f")[1]
    tick()
    os.close(fd)
    same(times("f")[1], written)
    fd = made("g")
    os.write(fd, b"x")
    os.utime(fd, (3, 4))
    os.close(fd)
    same(times("g")[:2], (3 * SECOND, 4 * SECOND))
