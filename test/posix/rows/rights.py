"""Who may what: permissions, owners, set-user-id, set-group-id and the sticky bit."""

import os

from rows.base import AT_FDCWD, as_user, checked, child, fails, get, libc, made, mode_of, put, row, same

MEMBER = {"uid": 1000, "gid": 1000, "groups": [50]}
STRANGER = {"uid": 1001, "gid": 1001}


@row("permissions: of owner, group, others, in this order; supplementary groups count")
def _():
    for mode, user, outcome in [
        (0o400, {}, "r"), (0o040, MEMBER, "r"), (0o004, STRANGER, "r"), (0o044, {}, ""), (0o404, MEMBER, ""), (0o200, {}, "w"),
        (0o020, MEMBER, "w"), (0o002, STRANGER, "w"), (0o111, {}, "x"), (0o000, {}, ""),
    ]:
        put("f", b"")
        os.chown("f", 1000 if user == {} else 1002, 50)
        os.chmod("f", mode)

        def look(outcome=outcome):
            for kind, flags in (("r", os.O_RDONLY), ("w", os.O_WRONLY)):
                if kind in outcome:
                    os.close(os.open("f", flags))
                else:
                    fails("EACCES", os.open, "f", flags)
            same([os.access("f", m) for m in (os.R_OK, os.W_OK, os.X_OK)], [k in outcome for k in "rwx"])

        as_user(look, **(user or {"uid": 1000, "gid": 1000}))
        os.unlink("f")


@row("permissions: folders need x to pass, r to list, w and x to change; root passes all")
def _():
    os.mkdir("d")
    put("d/f", b"x")
    os.chown("d", 1000, 1000)
    for mode, passes, lists, changes in [(0o100, 1, 0, 0), (0o400, 0, 1, 0), (0o300, 1, 0, 1), (0o200, 0, 0, 0), (0o700, 1, 1, 1)]:
        os.chmod("d", mode)

        def look(passes=passes, lists=lists, changes=changes):
            same(get("d/f"), b"x") if passes else fails("EACCES", get, "d/f")
            same(os.listdir("d"), ["f"]) if lists else fails("EACCES", os.listdir, "d")
            if changes:
                put("d/g", b"")
                os.unlink("d/g")
            else:
                fails("EACCES", put, "d/g", b"")
                fails("EACCES", os.unlink, "d/f")
            os.chdir("d") if passes else fails("EACCES", os.chdir, "d")

        as_user(look)
    os.chmod("d", 0)
    same((get("d/f"), os.listdir("d")), (b"x", ["f"]))


@row("permissions: that were lost count at once, and those that an open descriptor has stay")
def _():
    put("f", b"x")
    os.chmod("f", 0o666)

    def user():
        fd = os.open("f", os.O_RDWR)
        os.chmod("mine", 0o000)
        fails("EACCES", os.open, "mine", os.O_RDONLY)
        os.write(fd, b"y")

    put("mine", b"")
    os.chown("mine", 1000, 1000)
    as_user(user)
    os.chmod("f", 0o600)
    as_user(lambda: fails("EACCES", os.open, "f", os.O_RDONLY))


@row("chmod and chown: by others EPERM; a group that one is not in loses set-group-id; -1 leaves")
def _():
    put("f", b"")
    os.chown("f", 1000, 1000)
    as_user(lambda: fails("EPERM", os.chmod, "f", 0), **STRANGER)
    as_user(lambda: fails("EPERM", os.chown, "f", 1001, -1), **STRANGER)
    as_user(lambda: fails("EPERM", os.chown, "f", 1001, -1))
    as_user(lambda: fails("EPERM", os.chown, "f", -1, 60), **MEMBER)
    as_user(lambda: os.chown("f", -1, 50), **MEMBER)
    same((os.stat("f").st_uid, os.stat("f").st_gid), (1000, 50))
    as_user(lambda: os.chmod("f", 0o2755), **MEMBER)
    same(mode_of("f"), 0o2755)
    as_user(lambda: os.chmod("f", 0o6755))
    same(mode_of("f"), 0o4755)
    os.chown("f", -1, -1)
    same((os.stat("f").st_uid, os.stat("f").st_gid), (1000, 50))
    os.chown("f", 2**32 - 2, 2**32 - 2)
    same(os.stat("f").st_uid, 2**32 - 2)
    os.symlink("f", "s")
    os.lchown("s", 7, 8)
    same((os.lstat("s").st_uid, os.stat("f").st_uid), (7, 2**32 - 2))


@row("set-user-id and set-group-id: end when others write, cut, reserve or give away; not by root's writing")
def _():
    def change(work, mode=0o6777, user=True):
        put("f", b"content")
        os.chown("f", 1000, 50)
        os.chmod("f", mode)
        as_user(work, **STRANGER) if user else work()
        found = mode_of("f")
        os.unlink("f")
        return oct(found)

    def opened(work):
        def run():
            fd = os.open("f", os.O_RDWR)
            work(fd)

        return run

    same(change(opened(lambda fd: os.write(fd, b"x"))), oct(0o777))
    same(change(opened(lambda fd: os.ftruncate(fd, 1))), oct(0o777))
    same(change(opened(lambda fd: os.ftruncate(fd, 7))), oct(0o777))
    same(change(lambda: os.truncate("f", 1)), oct(0o777))
    same(change(lambda: os.close(os.open("f", os.O_WRONLY | os.O_TRUNC))), oct(0o777))
    same(change(opened(lambda fd: os.posix_fallocate(fd, 0, 100))), oct(0o777))
    same(change(opened(lambda fd: os.copy_file_range(fd, fd, 2, 0, 4))), oct(0o777))
    same(change(opened(lambda fd: os.write(fd, b"x")), 0o2767), oct(0o767))
    same(change(opened(lambda fd: os.write(fd, b"x")), 0o2666), oct(0o666))
    same(change(opened(lambda fd: os.write(fd, b"x")), 0o6777, user=False), oct(0o6777))
    same(change(opened(lambda fd: os.read(fd, 1))), oct(0o6777))
    same(change(lambda: os.chown("f", 1, 1), user=False), oct(0o777))
    same(change(lambda: os.chown("f", -1, 1), 0o6767, user=False), oct(0o2767))
    same(change(lambda: os.chown("f", 1, -1), 0o6666, user=False), oct(0o2666))


@row("set-group-id folders: give their group, and folders the bit; files keep theirs only for members")
def _():
    os.mkdir("d")
    os.chown("d", 0, 50)
    os.chmod("d", 0o2777)

    def make(who):
        os.umask(0)
        os.mkdir(f"d/{who}d")
        os.close(made(f"d/{who}x", mode=0o2775))
        os.close(made(f"d/{who}f", mode=0o2664))
        os.mknod(f"d/{who}n", 0o102775)
        os.symlink("x", f"d/{who}s")

    as_user(lambda: make("m"), **MEMBER)
    as_user(lambda: make("s"), **STRANGER)
    found = {name: (os.lstat(f"d/{name}").st_gid, oct(mode_of(f"d/{name}"))) for name in os.listdir("d")}
    expected = {}
    for who, kept in (("m", 0o2000), ("s", 0)):
        expected |= {f"{who}d": (50, oct(0o2777)), f"{who}x": (50, oct(0o775 | kept)), f"{who}f": (50, oct(0o2664))}
        expected |= {f"{who}n": (50, oct(0o775 | kept)), f"{who}s": (50, oct(0o777))}
    same(found, expected)
    os.chmod("d", 0o777)
    as_user(lambda: make("p"), **MEMBER)
    same((os.stat("d/px").st_gid, oct(mode_of("d/px")), oct(mode_of("d/pd"))), (1000, oct(0o2775), oct(0o777)))


@row("the sticky bit: on folders only the owners remove and rename; anybody may set it on a folder of his own")
def _():
    os.mkdir("d")
    os.chmod("d", 0o1777)

    def owner():
        put("d/f", b"")
        os.mkdir("d/sub")
        os.mkdir("own", 0o700)
        os.chmod("own", 0o1777)

    as_user(owner)
    same(oct(mode_of("own")), oct(0o1777))

    def other():
        fails("EPERM", os.unlink, "d/f")
        fails("EPERM", os.rmdir, "d/sub")
        fails("EPERM", os.rename, "d/f", "d/g")
        put("d/mine", b"")
        fails("EPERM", os.rename, "d/mine", "d/f")
        os.unlink("d/mine")

    as_user(other, **STRANGER)
    os.chown("d", 1001, 1001)
    as_user(lambda: os.unlink("d/f"), **STRANGER)


@row("capabilities of programs (security.capability): end when the file is written, cut or given away")
def _():
    capability = b"\x01\x00\x00\x02" + b"\x00\x04\x00\x00" + bytes(12)
    for work in (
        lambda: os.close(os.open("f", os.O_WRONLY | os.O_TRUNC)), lambda: os.truncate("f", 1), lambda: os.chown("f", 5, 5),
        lambda: os.write(os.open("f", os.O_WRONLY), b"x"),
    ):
        put("f", b"content", 0o755)
        os.setxattr("f", "security.capability", capability)
        same(len(os.getxattr("f", "security.capability")), 20)
        work()
        fails("ENODATA", os.getxattr, "f", "security.capability")
        os.unlink("f")


@row("access: as real and as effective user, and of what is read or run")
def _():
    put("f", b"", 0o600)

    def user():
        os.setreuid(0, 1000)
        same((os.access("f", os.R_OK), os.access("f", os.R_OK, effective_ids=True)), (True, False))
        fails("EACCES", os.open, "f", os.O_RDONLY)

    same(child(user), 0)
    same((os.access("f", os.X_OK), os.access("f", os.W_OK)), (False, True))
    os.chmod("f", 0o601)
    same(os.access("f", os.X_OK), True)
    fails("EINVAL", lambda: checked(libc.faccessat(AT_FDCWD, b"f", 64, 0)))
