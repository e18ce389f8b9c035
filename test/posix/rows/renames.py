"""rename(2) and the flags of renameat2(2)."""

import os
import stat

from rows.base import EXCHANGE, NOREPLACE, WHITEOUT, as_user, fails, get, made, put, renameat2, row, same


@row("rename: over files and empty folders, and what does not fit")
def _():
    put("f", b"f")
    put("g", b"g")
    for name in ("d", "e", "full"):
        os.mkdir(name)
    put("full/x", b"")
    os.rename("f", "g")
    same(get("g"), b"f")
    fails("EISDIR", os.rename, "g", "d")
    fails("ENOTDIR", os.rename, "d", "g")
    fails("ENOTEMPTY", os.rename, "d", "full")
    os.rename("full", "e")
    same(os.listdir("e"), ["x"])
    fails("ENOENT", os.rename, "no", "x")
    fails("EINVAL", os.rename, "d", "d/sub")
    os.mkdir("d/sub")
    fails("ENOTEMPTY", os.rename, "d/sub", "d")
    fails("EBUSY", os.rename, ".", "x")
    fails("EBUSY", os.rename, "..", "x")


@row("rename: of two names of one file does nothing")
def _():
    put("a", b"x")
    os.link("a", "b")
    os.rename("a", "b")
    same((sorted(os.listdir(".")), os.stat("a").st_nlink), (["a", "b"], 2))
    os.rename("a", "a")
    same(sorted(os.listdir(".")), ["a", "b"])


@row("rename: what was there and is open goes on")
def _():
    fd = made("old")
    os.write(fd, b"old")
    put("new", b"new")
    os.rename("new", "old")
    same((os.pread(fd, 9, 0), os.fstat(fd).st_nlink, get("old")), (b"old", 0, b"new"))
    os.mkdir("d")
    os.mkdir("e")
    folder = os.open("e", os.O_RDONLY)
    os.rename("d", "e")
    same((os.fstat(folder).st_nlink, os.listdir(folder)), (0, []))


@row("RENAME_NOREPLACE: EEXIST over anything, itself too")
def _():
    put("f", b"f")
    put("g", b"g")
    os.mkdir("d")
    os.symlink("nowhere", "s")
    for name in ("g", "d", "s", "f"):
        fails("EEXIST", renameat2, "f", name, NOREPLACE)
    renameat2("f", "new", NOREPLACE)
    renameat2("d", "dir", NOREPLACE)
    same((get("new"), sorted(os.listdir("."))), (b"f", ["dir", "g", "new", "s"]))
    fails("ENOENT", renameat2, "no", "x", NOREPLACE)


@row("RENAME_EXCHANGE: of any two kinds, also between folders; ENOENT without the second, EINVAL of what is inside")
def _():
    put("f", b"f")
    os.mkdir("d")
    put("d/in", b"in")
    os.symlink("f", "s")
    before = {name: os.lstat(name).st_ino for name in ("f", "d", "s", "d/in")}
    renameat2("f", "d", EXCHANGE)
    same((os.lstat("d").st_ino, os.lstat("f").st_ino, os.listdir("f")), (before["f"], before["d"], ["in"]))
    renameat2("f/in", "s", EXCHANGE)
    same((os.lstat("s").st_ino, os.readlink("f/in")), (before["d/in"], "f"))
    os.mkdir("e")
    os.mkdir("e/deep")
    renameat2("e/deep", "f", EXCHANGE)
    same((os.listdir("f"), os.listdir("e/deep"), os.stat("e/deep/..").st_ino), ([], ["in"], os.stat("e").st_ino))
    same((os.stat("e").st_nlink, os.stat(".").st_nlink), (3, 4))
    fails("ENOENT", renameat2, "s", "no", EXCHANGE)
    fails("EINVAL", renameat2, "e", "e/deep", EXCHANGE)
    fails("EINVAL", renameat2, "e/deep", "e", EXCHANGE)
    renameat2("s", "s", EXCHANGE)


@row("RENAME_WHITEOUT: leaves a character device 0,0; not with EXCHANGE, which is EINVAL, as are unknown flags")
def _():
    put("f", b"f")
    put("g", b"g")
    os.mkdir("d")
    inode = os.stat("f").st_ino
    renameat2("f", "d/f", WHITEOUT)
    left = os.lstat("f")
    same((stat.S_IFMT(left.st_mode), left.st_rdev, left.st_nlink, left.st_size), (stat.S_IFCHR, 0, 1, 0))
    same((os.stat("d/f").st_ino, get("d/f")), (inode, b"f"))
    renameat2("g", "f", WHITEOUT)
    same((get("f"), stat.S_ISCHR(os.lstat("g").st_mode)), (b"g", True))
    renameat2("d", "e", WHITEOUT | NOREPLACE)
    same((os.listdir("e"), stat.S_ISCHR(os.lstat("d").st_mode), os.stat(".").st_nlink), (["f"], True, 3))
    fails("EEXIST", renameat2, "e", "f", WHITEOUT | NOREPLACE)
    fails("EINVAL", renameat2, "e", "f", WHITEOUT | EXCHANGE)
    fails("EINVAL", renameat2, "e", "f", NOREPLACE | EXCHANGE)
    fails("EINVAL", renameat2, "e", "f", 8)

    def user():
        put("mine", b"")
        renameat2("mine", "moved", WHITEOUT)
        same((stat.S_ISCHR(os.lstat("mine").st_mode), os.lstat("mine").st_uid), (True, 1000))

    as_user(user)


@row("rename: needs both folders; the sticky bit keeps what others own, and what others own in its place")
def _():
    os.mkdir("sticky")
    os.chmod("sticky", 0o1777)
    os.mkdir("closed", 0o755)
    put("sticky/root", b"")
    put("closed/f", b"")

    def user():
        put("sticky/mine", b"")
        put("mine", b"")
        fails("EPERM", os.rename, "sticky/root", "sticky/x")
        fails("EPERM", os.rename, "sticky/mine", "sticky/root")
        fails("EPERM", renameat2, "sticky/mine", "sticky/root", EXCHANGE)
        fails("EPERM", os.unlink, "sticky/root")
        fails("EACCES", os.rename, "closed/f", "f")
        fails("EACCES", os.rename, "mine", "closed/mine")
        os.rename("sticky/mine", "sticky/new")
        os.mkdir("own")

    as_user(user)
    os.chown("sticky/new", 1001, 1001)
    as_user(lambda: fails("EPERM", os.unlink, "sticky/new"))
    os.chown("sticky", 1000, 1000)
    as_user(lambda: os.unlink("sticky/new"))


@row("rename: a folder that one may not write cannot get another parent")
def _():
    os.mkdir("d", 0o755)
    os.mkdir("into")
    os.chmod("into", 0o777)

    def user():
        fails("EACCES", os.rename, "d", "into/d")
        os.rename("d", "e")

    as_user(user)
