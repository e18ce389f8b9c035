"""Extended attributes of all namespaces."""

import ctypes
import os

from rows.base import as_user, checked, fails, libc, made, put, row, same

CREATE, REPLACE = os.XATTR_CREATE, os.XATTR_REPLACE


@row("xattrs: set, created (EEXIST), replaced (ENODATA), listed, removed, of files, folders, descriptors")
def _():
    put("f", b"")
    os.mkdir("d")
    for path in ("f", "d", os.open("f", os.O_RDONLY)):
        fails("ENODATA", os.getxattr, path, "user.a")
        fails("ENODATA", os.removexattr, path, "user.a")
        fails("ENODATA", os.setxattr, path, "user.a", b"1", REPLACE)
        os.setxattr(path, "user.a", b"1", CREATE)
        fails("EEXIST", os.setxattr, path, "user.a", b"2", CREATE)
        os.setxattr(path, "user.a", b"22", REPLACE)
        os.setxattr(path, "user.b", b"\0\xff")
        same((os.getxattr(path, "user.a"), os.getxattr(path, "user.b")), (b"22", b"\0\xff"))
        same(sorted(os.listxattr(path)), ["user.a", "user.b"])
        os.removexattr(path, "user.a")
        os.removexattr(path, "user.b")
        same(os.listxattr(path), [])
    fails("EINVAL", os.setxattr, "f", "user.a", b"", 4)
    fails("ENOENT", os.getxattr, "no", "user.a")
    fails("ENOENT", os.listxattr, "no")


@row("xattrs: empty values, long ones, 65537 bytes E2BIG; names of 255 bytes, 256 ERANGE, of none EINVAL")
def _():
    put("f", b"")
    os.setxattr("f", "user.empty", b"")
    same(os.getxattr("f", "user.empty"), b"")
    os.setxattr("f", "user.long", b"x" * 3000)
    same(os.getxattr("f", "user.long"), b"x" * 3000)
    try:
        os.setxattr("f", "user.longest", bytes(range(256)) * 256)
        same(os.getxattr("f", "user.longest"), bytes(range(256)) * 256)
    except OSError as error:
        same(error.strerror, os.strerror(28))
    fails("E2BIG", os.setxattr, "f", "user.more", bytes(65537))
    name = "user." + "n" * 250
    os.setxattr("f", name, b"v")
    same(os.getxattr("f", name), b"v")
    fails("ERANGE", os.setxattr, "f", name + "n", b"v")
    fails("ERANGE", os.getxattr, "f", name + "n")
    fails("ERANGE", os.setxattr, "f", "", b"v")
    fails("EINVAL", os.setxattr, "f", "user.", b"v")
    os.setxattr("f", b"user.\xff/\n.", b"bytes")
    same(os.getxattr("f", b"user.\xff/\n."), b"bytes")


@row("xattrs: sizes are told to who asks with no room, too little room is ERANGE")
def _():
    put("f", b"")
    os.setxattr("f", "user.a", b"12345")
    buffer = ctypes.create_string_buffer(16)
    same((libc.getxattr(b"f", b"user.a", None, 0), libc.listxattr(b"f", None, 0)), (5, 7))
    fails("ERANGE", lambda: checked(libc.getxattr(b"f", b"user.a", buffer, 4)))
    fails("ERANGE", lambda: checked(libc.listxattr(b"f", buffer, 6)))
    same((libc.getxattr(b"f", b"user.a", buffer, 5), buffer.raw[:6]), (5, b"12345\0"))
    same((libc.listxattr(b"f", buffer, 7), buffer.raw[:7]), (7, b"user.a\0"))


@row("xattrs: user ones follow permissions, are not for links, devices and pipes, and on sticky folders the owner's")
def _():
    put("f", b"")
    os.symlink("f", "s")
    os.mkfifo("p")
    os.mkdir("d")
    os.chmod("d", 0o1777)
    fails("EPERM", lambda: os.setxattr("s", "user.a", b"", follow_symlinks=False))
    fails("EPERM", os.setxattr, "p", "user.a", b"")
    fails("ENODATA", os.getxattr, "p", "user.a")

    def user():
        fails("EACCES", os.setxattr, "f", "user.a", b"")
        fails("ENODATA", os.getxattr, "f", "user.a")
        fails("EPERM", os.setxattr, "d", "user.a", b"")
        put("mine", b"")
        os.chmod("mine", 0o400)
        fails("EACCES", os.setxattr, "mine", "user.a", b"")

    as_user(user)
    os.chmod("f", 0o600)
    as_user(lambda: fails("EACCES", os.getxattr, "f", "user.a"))


@row("xattrs: trusted ones are root's, others neither see nor list nor set them")
def _():
    put("f", b"")
    os.chown("f", 1000, 1000)
    os.setxattr("f", "trusted.t", b"v")
    os.setxattr("f", "user.u", b"v")
    same((os.getxattr("f", "trusted.t"), sorted(os.listxattr("f"))), (b"v", ["trusted.t", "user.u"]))

    def user():
        fails("EPERM", os.setxattr, "f", "trusted.t", b"w")
        fails("EPERM", os.removexattr, "f", "trusted.t")
        fails("ENODATA", os.getxattr, "f", "trusted.t")
        same(os.listxattr("f"), ["user.u"])

    as_user(user)
    os.symlink("f", "s")
    os.setxattr("s", "trusted.t", b"link", follow_symlinks=False)
    same(os.getxattr("s", "trusted.t", follow_symlinks=False), b"link")


@row("xattrs: security ones are set by root, read and listed by all; of other namespaces EOPNOTSUPP")
def _():
    put("f", b"")
    os.chown("f", 1000, 1000)
    os.setxattr("f", "security.s", b"v")

    def user():
        fails("EPERM", os.setxattr, "f", "security.s", b"w")
        fails("EPERM", os.removexattr, "f", "security.s")
        same((os.getxattr("f", "security.s"), os.listxattr("f")), (b"v", ["security.s"]))

    as_user(user)
    for name in ("other.x", "system.x", "x", "userx", "USER.x"):
        fails("EOPNOTSUPP", os.setxattr, "f", name, b"")
        fails("EOPNOTSUPP", os.getxattr, "f", name)
        fails("EOPNOTSUPP", os.removexattr, "f", name)
    fails("EINVAL", os.setxattr, "f", "trusted.", b"")
    os.removexattr("f", "security.s")


@row("xattrs: stay with the inode: over links, renames and descriptors, and go with it")
def _():
    put("f", b"")
    os.setxattr("f", "user.a", b"v")
    os.link("f", "g")
    os.rename("f", "h")
    same((os.getxattr("g", "user.a"), os.getxattr("h", "user.a")), (b"v", b"v"))
    fd = os.open("g", os.O_RDONLY)
    os.unlink("g")
    os.unlink("h")
    same(os.getxattr(fd, "user.a"), b"v")
    os.close(made("g"))
    same(os.listxattr("g"), [])


@row("xattrs: a hundred of them")
def _():
    put("f", b"")
    names = [f"user.{n}" for n in range(100)]
    for name in names:
        os.setxattr("f", name, name.encode())
    same((sorted(os.listxattr("f")), [os.getxattr("f", name) for name in names]), (sorted(names), [name.encode() for name in names]))
