"""Names, paths, hard and symbolic links, special nodes, listings, watching."""

import ctypes
import os
import stat
import struct

from rows.base import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, as_user, checked, fails, get, libc, linkat, made, mode_of
from rows.base import put, row, same, true


@row("names: every byte but / and NUL, up to 255 of them")
def _():
    names = {bytes([b]) for b in range(1, 256)} - {b"/", b"."} | {b"n" * 255, b"\xff" * 255, b"...", b" .", b"caf\xc3\xa9", b"cafe\xcc\x81"}
    for name in names:
        put(name, name)
    same(set(os.listdir(b".")), names)
    for name in names:
        same(get(name), name)
        os.unlink(name)
    same(os.listdir("."), [])


@row("names: 256 bytes are ENAMETOOLONG in each call")
def _():
    long, there = "n" * 256, "there"
    put(there, b"")
    for call, *args in [
        (os.stat, long), (os.mkdir, long), (os.rmdir, long), (os.unlink, long), (os.mkfifo, long), (os.symlink, "x", long),
        (os.link, there, long), (os.link, long, "new"), (os.rename, there, long), (os.rename, long, "new"), (made, long),
        (os.chmod, long, 0), (os.chown, long, 0, 0), (os.truncate, long, 0), (os.readlink, long), (os.utime, long),
        (os.access, long, 0), (os.getxattr, long, "user.x"), (os.stat, f"{long}/x"), (os.mknod, long),
    ]:
        if call is os.access:
            same(call(*args), False)
        else:
            fails("ENAMETOOLONG", call, *args)


@row("paths: 4095 bytes are reached, 4096 are ENAMETOOLONG, deeper folders by relative paths")
def _():
    here = os.getcwd()
    part, depth = "d" * 250, 0
    for depth in range(20):
        os.mkdir(part)
        os.chdir(part)
        put("file", str(depth).encode())
    os.chdir(here)
    deep = "/".join([part] * 16) + "/"
    same(len(deep), 16 * 251)
    exact = deep + "./" * ((4095 - len(deep) - 4) // 2) + "/" * ((4095 - len(deep) - 4) % 2) + "file"
    same(len(exact), 4095)
    same(get(exact), b"15")
    fails("ENAMETOOLONG", os.stat, deep + "./" * ((4096 - len(deep) - 4) // 2) + "/" * ((4096 - len(deep) - 4) % 2) + "file")
    for _ in range(20):
        os.chdir(part)
    same(get("file"), b"19")
    for _ in range(20):
        os.unlink("file")
        os.chdir("..")
        os.rmdir(part)
    same(os.getcwd(), here)


@row("paths: empty ENOENT, through a file ENOTDIR, a slash behind a file ENOTDIR")
def _():
    put("f", b"")
    os.mkdir("d")
    fails("ENOENT", os.stat, "")
    fails("ENOENT", os.mkdir, "")
    fails("ENOTDIR", os.stat, "f/x")
    fails("ENOTDIR", os.stat, "f/")
    fails("ENOTDIR", os.stat, "f/..")
    fails("ENOENT", os.stat, "no/..")
    fails("EISDIR", made, "new/")
    os.mkdir("e/")
    os.rename("e/", "g/")
    fails("ENOTDIR", os.rename, "f/", "h")
    fails("EISDIR EPERM", os.unlink, "d")
    fails("ENOTDIR", os.rmdir, "f")
    fails("EINVAL", os.rmdir, "d/.")
    fails("ENOTEMPTY", os.rmdir, "d/..")


@row("symbolic links: 40 are followed, 41 are ELOOP, so is a circle; targets up to 4095 bytes")
def _():
    put("s0", b"end")
    for n in range(1, 42):
        os.symlink(f"s{n - 1}", f"s{n}")
    same(get("s40"), b"end")
    fails("ELOOP", get, "s41")
    os.symlink("b", "a")
    os.symlink("a", "b")
    for call, *args in [(os.stat, "a"), (made, "a"), (os.truncate, "a", 0), (os.chmod, "a", 0), (os.listdir, "a"), (os.chdir, "a")]:
        fails("ELOOP", call, *args)
    fails("ELOOP", os.open, "a", os.O_RDONLY | os.O_NOFOLLOW)
    os.symlink("t" * 4095, "long")
    same((os.readlink("long"), os.lstat("long").st_size), ("t" * 4095, 4095))
    fails("ENAMETOOLONG", os.symlink, "t" * 4096, "longer")
    fails("ENOENT", os.symlink, "", "empty")
    fails("EEXIST", os.symlink, "x", "a")
    fails("EINVAL", os.readlink, "s0")
    os.symlink(b"\xff/\n", b"bytes")
    same((os.readlink(b"bytes"), mode_of("bytes")), (b"\xff/\n", 0o777))


@row("hard links: one inode, counted; of folders EPERM, to another filesystem EXDEV, over a name EEXIST")
def _():
    put("a", b"1")
    os.mkdir("d")
    for n in range(5):
        os.link("a", f"d/l{n}")
    same((os.stat("a").st_nlink, os.stat("d/l4").st_ino), (6, os.stat("a").st_ino))
    fails("EPERM", os.link, "d", "e")
    fails("EEXIST", os.link, "a", "d/l0")
    fails("EEXIST", os.link, "a", "d")
    fails("EXDEV", os.link, "/proc/self/status", "x")
    fails("EXDEV", os.rename, "a", "/proc/self/x")
    fails("ENOENT", os.link, "no", "x")
    os.symlink("a", "s")
    os.link("s", "t", follow_symlinks=False)
    same((os.readlink("t"), os.lstat("s").st_nlink), ("a", 2))
    linkat(AT_FDCWD, "s", "u", AT_SYMLINK_FOLLOW)
    same(os.stat("u").st_nlink, 7)
    os.mkfifo("p")
    os.link("p", "q")
    same(os.stat("q").st_nlink, 2)
    for n in range(5):
        os.unlink(f"d/l{n}")
    same(os.stat("a").st_nlink, 2)


@row("hard links: of an open file by AT_EMPTY_PATH and by /proc, and no more when it is unlinked")
def _():
    fd = made("a")
    os.write(fd, b"x")
    linkat(fd, "", "b", AT_EMPTY_PATH)
    linkat(AT_FDCWD, f"/proc/self/fd/{fd}", "c", AT_SYMLINK_FOLLOW)
    same(os.fstat(fd).st_nlink, 3)
    for name in "abc":
        os.unlink(name)
    fails("ENOENT", linkat, fd, "", "d", AT_EMPTY_PATH)
    fails("ENOENT", linkat, AT_FDCWD, f"/proc/self/fd/{fd}", "d", AT_SYMLINK_FOLLOW)


@row("folders: link counts, and . and .. of one that was moved")
def _():
    os.mkdir("d")
    os.mkdir("e")
    same(os.stat("d").st_nlink, 2)
    os.mkdir("d/s")
    put("d/f", b"")
    same(os.stat("d").st_nlink, 3)
    os.rename("d/s", "e/s")
    same((os.stat("d").st_nlink, os.stat("e").st_nlink, os.stat("e/s/..").st_ino), (2, 3, os.stat("e").st_ino))
    os.rmdir("e/s")
    same(os.stat("e").st_nlink, 2)


@row("folders: one that was removed while it is open is empty, and nothing can be made in it")
def _():
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY)
    os.rmdir("d")
    same((os.fstat(fd).st_nlink, os.listdir(fd)), (0, []))
    fails("ENOENT", lambda: os.mkdir("x", dir_fd=fd))
    fails("ENOENT", lambda: os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.mkdir("d")
    same(os.listdir("d"), [])


@row("folders: a listing that goes on while names come and go shows each that stays exactly once")
def _():
    stay = {f"stay{n}" for n in range(1500)}
    for n in range(1500):
        put(f"stay{n}", b"")
        put(f"go{n}", b"")
    seen = []
    with os.scandir(".") as entries:
        for index, entry in enumerate(entries):
            if entry.name in stay:
                seen.append(entry.name)
            if index % 3 == 0 and index // 3 < 1500:
                os.unlink(f"go{index // 3}")
                put(f"new{index}", b"")
    same((len(seen), set(seen)), (1500, stay))


@row("special nodes: pipes, sockets and devices, with their numbers; devices only for root")
def _():
    kinds = [(stat.S_IFIFO, 0), (stat.S_IFSOCK, 0), (stat.S_IFCHR, os.makedev(1, 3)), (stat.S_IFBLK, os.makedev(4095, 1048575)), (stat.S_IFREG, 0)]
    for index, (kind, device) in enumerate(kinds):
        os.mknod(f"n{index}", kind | 0o640, device)
        found = os.stat(f"n{index}")
        same((stat.S_IFMT(found.st_mode), found.st_rdev, mode_of(f"n{index}")), (kind, device, 0o640))
    fails("EPERM EINVAL", os.mknod, "d", stat.S_IFDIR | 0o755)
    fails("EEXIST", os.mknod, "n0", stat.S_IFIFO)
    fails("ENXIO", os.open, "n1", os.O_RDONLY)
    fails("ENXIO", os.open, "n0", os.O_WRONLY | os.O_NONBLOCK)

    def user():
        fails("EPERM", os.mknod, "c", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.mkfifo("mine")

    as_user(user)
    reader = os.open("n0", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("n0", os.O_WRONLY)
    os.write(writer, b"through")
    same(os.read(reader, 9), b"through")


@row("handles of files (name_to_handle_at) name them")
def _():
    put("f", b"x")

    def handle(path):
        buffer = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
        checked(libc.name_to_handle_at(AT_FDCWD, path.encode(), buffer, ctypes.byref(ctypes.c_int()), 0))
        return buffer

    one = handle("f")
    os.rename("f", "g")
    same(handle("g").raw, one.raw)
    fd = checked(libc.open_by_handle_at(os.open(".", os.O_RDONLY), one, os.O_RDONLY))
    same(os.read(fd, 9), b"x")


@row("watching (inotify): what happens in a folder is told")
def _():
    watch = checked(libc.inotify_init1(os.O_NONBLOCK))
    checked(libc.inotify_add_watch(watch, b".", 0xFFF))
    put("f", b"x")
    os.rename("f", "g")
    os.chmod("g", 0o600)
    os.unlink("g")
    told, events = os.read(watch, 65536), []
    while told:
        _, mask, _, length = struct.unpack("iIII", told[:16])
        events.append((mask, told[16 : 16 + length].rstrip(b"\0")))
        told = told[16 + length :]
    same(
        events,
        [(0x100, b"f"), (0x20, b"f"), (0x2, b"f"), (0x8, b"f"), (0x40, b"f"), (0x80, b"g"), (0x4, b"g"), (0x200, b"g")],
    )


@row("names: what was looked for and was not there is seen as soon as it is made")
def _():
    for n in range(50):
        fails("ENOENT", os.stat, f"n{n}")
        put(f"n{n}", b"")
        true(os.path.exists(f"n{n}"))
        os.unlink(f"n{n}")
        fails("ENOENT", os.stat, f"n{n}")
