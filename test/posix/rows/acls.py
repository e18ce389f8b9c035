"""POSIX access control lists: kept, enforced, inherited."""

import os

from rows.base import ACCESS, DEFAULT, GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, acl, as_user, fails, get, made, mode_of
from rows.base import put, row, same

LIST = acl((USER_OBJ, 6), (USER, 4, 1001), (GROUP_OBJ, 4), (GROUP, 6, 60), (MASK, 6), (OTHER, 0))


def has(path, which, expected):
    if expected is None:
        fails("ENODATA", os.getxattr, path, which)
    else:
        same(os.getxattr(path, which), expected)


@row("lists: the mode shows the mask for the group, chmod changes the mask; removing gives the group what the mask was")
def _():
    put("f", b"")
    os.setxattr("f", ACCESS, LIST)
    same(oct(mode_of("f")), oct(0o660))
    os.chmod("f", 0o640)
    has("f", ACCESS, acl((USER_OBJ, 6), (USER, 4, 1001), (GROUP_OBJ, 4), (GROUP, 6, 60), (MASK, 4), (OTHER, 0)))
    os.chmod("f", 0o755)
    has("f", ACCESS, acl((USER_OBJ, 7), (USER, 4, 1001), (GROUP_OBJ, 4), (GROUP, 6, 60), (MASK, 5), (OTHER, 5)))
    os.removexattr("f", ACCESS)
    has("f", ACCESS, None)
    same(oct(mode_of("f")), oct(0o755))
    os.setxattr("f", ACCESS, acl((USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 4)))
    has("f", ACCESS, None)
    same(oct(mode_of("f")), oct(0o644))


@row("lists: decide for named users and groups, under the mask, and before the others")
def _():
    put("f", b"x")
    os.chown("f", 1000, 1000)
    os.setxattr("f", ACCESS, LIST)

    def can(reads, writes):
        def look():
            same([os.access("f", os.R_OK), os.access("f", os.W_OK)], [reads, writes])
            same(get("f"), b"x") if reads else fails("EACCES", get, "f")
            os.close(os.open("f", os.O_WRONLY)) if writes else fails("EACCES", os.open, "f", os.O_WRONLY)

        return look

    as_user(can(True, True))
    as_user(can(True, False), 1001, 1001)
    as_user(can(True, False), 1002, 1000)
    as_user(can(True, True), 1002, 60)
    as_user(can(True, True), 1002, 1002, [60])
    as_user(can(True, True), 1002, 1000, [60])
    as_user(can(True, False), 1001, 60)
    as_user(can(False, False), 1002, 1002)
    os.chmod("f", 0o644)
    as_user(can(True, False), 1002, 60)
    as_user(can(True, False), 1002, 1002)
    os.chmod("f", 0o600)
    as_user(can(False, False), 1001, 1001)
    as_user(can(False, False), 1002, 60)


@row("default lists: are inherited in place of the umask, cut by the mode that was asked for; folders hand them on")
def _():
    os.mkdir("d")
    default = acl((USER_OBJ, 7), (USER, 5, 1001), (GROUP_OBJ, 5), (MASK, 7), (OTHER, 4))
    os.setxattr("d", DEFAULT, default)
    has("d", ACCESS, None)
    os.umask(0o077)
    os.close(made("d/f", mode=0o666))
    has("d/f", ACCESS, acl((USER_OBJ, 6), (USER, 5, 1001), (GROUP_OBJ, 5), (MASK, 6), (OTHER, 4)))
    same(oct(mode_of("d/f")), oct(0o664))
    os.close(made("d/g", mode=0o600))
    has("d/g", ACCESS, acl((USER_OBJ, 6), (USER, 5, 1001), (GROUP_OBJ, 5), (MASK, 0), (OTHER, 0)))
    os.mkdir("d/s", 0o777)
    has("d/s", DEFAULT, default)
    has("d/s", ACCESS, acl((USER_OBJ, 7), (USER, 5, 1001), (GROUP_OBJ, 5), (MASK, 7), (OTHER, 4)))
    os.mkfifo("d/p", 0o666)
    has("d/p", ACCESS, acl((USER_OBJ, 6), (USER, 5, 1001), (GROUP_OBJ, 5), (MASK, 6), (OTHER, 4)))
    os.symlink("f", "d/l")
    same(oct(mode_of("d/l")), oct(0o777))
    os.setxattr("d", DEFAULT, acl((USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 0)))
    os.close(made("d/h", mode=0o666))
    has("d/h", ACCESS, None)
    same(oct(mode_of("d/h")), oct(0o640))
    os.removexattr("d", DEFAULT)
    os.close(made("d/i", mode=0o666))
    same(oct(mode_of("d/i")), oct(0o600))
    os.rename("d/f", "f")
    has("f", ACCESS, acl((USER_OBJ, 6), (USER, 5, 1001), (GROUP_OBJ, 5), (MASK, 6), (OTHER, 4)))


@row("default lists: in set-group-id folders and with O_TMPFILE, link and the owner's later chmod")
def _():
    os.mkdir("d")
    os.chown("d", 0, 50)
    os.chmod("d", 0o2777)
    os.setxattr("d", DEFAULT, acl((USER_OBJ, 7), (USER, 6, 1001), (GROUP_OBJ, 5), (MASK, 7), (OTHER, 0)))

    def user():
        os.mkdir("d/s")
        os.close(made("d/f", mode=0o2776))
        fd = os.open("d", os.O_TMPFILE | os.O_RDWR, 0o666)
        same(os.getxattr(fd, ACCESS), acl((USER_OBJ, 6), (USER, 6, 1001), (GROUP_OBJ, 5), (MASK, 6), (OTHER, 0)))
        os.chmod("d/s", 0o700)

    as_user(user)
    same((os.stat("d/s").st_gid, oct(mode_of("d/s")), oct(mode_of("d/f"))), (50, oct(0o700), oct(0o770)))
    has("d/s", ACCESS, acl((USER_OBJ, 7), (USER, 6, 1001), (GROUP_OBJ, 5), (MASK, 0), (OTHER, 0)))


@row("lists: setting one as who is not in the group ends set-group-id, as a member not; root keeps it")
def _():
    put("f", b"")
    os.chown("f", 1000, 50)
    for user, kept in ((None, 0o2000), ({"groups": [50]}, 0o2000), ({}, 0)):
        os.chmod("f", 0o2755)
        change = lambda: os.setxattr("f", ACCESS, LIST)
        change() if user is None else as_user(change, **user)
        same(oct(mode_of("f")), oct(0o660 | kept))


@row("lists: a sticky folder where a list lets others write keeps what is not theirs")
def _():
    os.mkdir("d", 0o700)
    os.chmod("d", 0o1700)
    os.setxattr("d", ACCESS, acl((USER_OBJ, 7), (USER, 7, 1000), (GROUP_OBJ, 0), (MASK, 7), (OTHER, 0)))
    same(oct(mode_of("d")), oct(0o1770))
    put("d/root", b"")

    def user():
        put("d/mine", b"")
        fails("EPERM", os.unlink, "d/root")
        os.unlink("d/mine")

    as_user(user)
    as_user(lambda: fails("EACCES", os.listdir, "d"), 1001, 1001)


@row("lists: only the owner sets them (EPERM), of links and default ones of files not at all")
def _():
    put("f", b"")
    os.symlink("f", "s")
    as_user(lambda: fails("EPERM", os.setxattr, "f", ACCESS, LIST))
    as_user(lambda: fails("EPERM", os.removexattr, "f", ACCESS))
    as_user(lambda: fails("ENODATA", os.getxattr, "f", ACCESS))
    fails("EACCES", os.setxattr, "f", DEFAULT, LIST)
    fails("EOPNOTSUPP", lambda: os.setxattr("s", ACCESS, LIST, follow_symlinks=False))
    os.removexattr("f", ACCESS)


@row("lists: that are none are EINVAL")
def _():
    put("f", b"")
    entries = [(USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 4)]
    for value in (
        b"\x02\0\0", acl(*entries)[:-1], acl(*entries[1:]), acl(*entries, (USER, 4, 7)), acl((64, 6), *entries),
        acl(*entries[:1], (USER, 4, 7), *entries[1:]), acl((USER_OBJ, 8), *entries[1:]), b"\x01" + acl(*entries)[1:],
    ):
        fails("EINVAL EOPNOTSUPP", os.setxattr, "f", ACCESS, value)
    same(oct(mode_of("f")), oct(0o644))


@row("lists: are listed among the extended attributes only where there are some")
def _():
    put("f", b"")
    os.mkdir("d")
    same((os.listxattr("f"), os.listxattr("d")), ([], []))
    os.setxattr("f", ACCESS, LIST)
    os.setxattr("d", DEFAULT, LIST)
    same((os.listxattr("f"), os.listxattr("d")), ([ACCESS], [DEFAULT]))
    os.removexattr("d", DEFAULT)
    same(os.listxattr("d"), [])
