"""What the rows of the table are made of: system calls that Python lacks, expectations, other users, and the runner."""

import ctypes
import errno
import os
import stat
import struct
import sys
import traceback

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = -100, 0x400, 0x1000
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
OFF_MAX = (1 << 63) - 1
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"

ROWS = []


def row(what):
    """A row: a function that raises where something is otherwise; it runs in an empty folder of its own."""

    def add(check):
        ROWS.append((what, check))
        return check

    return add


def checked(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def path_of(path):
    return os.fsencode(path)


def renameat2(old, new, flags):
    checked(libc.renameat2(AT_FDCWD, path_of(old), AT_FDCWD, path_of(new), flags))


def linkat(old_dir, old, new, flags):
    checked(libc.linkat(old_dir, path_of(old), AT_FDCWD, path_of(new), flags))


def fallocate(fd, mode, off, size):
    checked(libc.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(size)))


def utimensat(path, atime, mtime):
    """Times are (seconds, nanoseconds), which may be UTIME_NOW or UTIME_OMIT."""
    checked(libc.utimensat(AT_FDCWD, path_of(path), struct.pack("qqqq", *atime, *mtime), 0))


def sync_file_range(fd, off, size):
    checked(libc.sync_file_range(fd, ctypes.c_long(off), ctypes.c_long(size), 7))


def put(path, data, mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    os.write(fd, data)
    os.close(fd)


def get(path):
    with open(path, "rb") as file:
        return file.read()


def made(path, flags=os.O_RDWR | os.O_CREAT, mode=0o644):
    """A new file, open."""
    return os.open(path, flags, mode)


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def same(found, expected):
    if found != expected:
        raise AssertionError(f"{shown(found)}, not {shown(expected)}")


def true(found):
    if not found:
        raise AssertionError("not true")


def shown(value):
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}..."


def fails(name, call, *args):
    """Expects that errno; several names, with blanks between them, where ext4 and BigFS each have a reason of its own."""
    try:
        call(*args)
    except OSError as error:
        if error.errno not in [getattr(errno, one) for one in name.split()]:
            raise AssertionError(f"{errno.errorcode[error.errno]}, not {name}") from error
    else:
        raise AssertionError(f"no {name}")


def child(work):
    """Does it in another process; what is raised there is raised here."""
    hear, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(hear)
        outcome = b""
        try:
            work()
        except BaseException as error:  # pylint: disable=broad-except
            outcome = where(error).encode()
        os.write(tell, outcome)
        os._exit(0)
    os.close(tell)
    with os.fdopen(hear, "rb") as told:
        outcome = told.read().decode()
    status = os.waitpid(pid, 0)[1]
    if outcome:
        raise AssertionError(outcome)
    return status


def as_user(work, uid=1000, gid=1000, groups=()):
    def become():
        os.setgroups(list(groups))
        os.setgid(gid)
        os.setuid(uid)
        work()

    same(child(become), 0)


def acl(*entries):
    """An access control list of (tag, rights[, id])."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *(e + (2**32 - 1,))[:3]) for e in entries)


USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32


def where(error):
    """The innermost line of a row that led here, and why."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if not f.filename.endswith("base.py")), frames[-1])
    told = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__} {error}"
    return told if told.startswith("line ") else f"line {frame.lineno} of {os.path.basename(frame.filename)}: {frame.line}: {told}"


def run(what, check, here, there):
    def work():
        os.umask(0o022)
        check(*there)

    os.mkdir(here)
    os.chmod(here, 0o777)
    os.chdir(here)
    try:
        status = child(work)
        outcome = "ok" if status == 0 else f"ended by signal {status & 127}"
    except AssertionError as error:
        outcome = str(error)
    os.chdir("/")
    print(f"{what}: {outcome}", flush=True)
    return outcome == "ok"


def run_all(folder, *other):
    """Rows of two mounts have a parameter: their folder as the other mount shows it."""
    results = []
    for index, (what, check) in enumerate(ROWS):
        name = f"row{index}"
        there = [os.path.join(seen, name) for seen in other if check.__code__.co_argcount == 1]
        results.append(run(what, check, os.path.join(folder, name), there))
    return 0 if all(results) else 1
