#!/usr/bin/env python3
"""Does the same random operations on a local folder and on a mount, and compares every result.

usage: differential.py LOCAL MOUNT [--seed N] [--steps N] [--seconds N] [--verbose]
       differential.py LOCAL MOUNT --compare

Both folders are empty at first, and on filesystems that keep extended attributes and access control lists. Runs as
root. A seed always does the same operations, so a difference can be seen again; exit 1 when there is one. `--compare`
only compares the trees (after a remount, say). What cannot be the same is left out: inode and device numbers, sizes of
folders, allocated blocks, times that nobody has set.
"""

import argparse
import ctypes
import errno
import hashlib
import mmap
import os
import random
import stat
import struct
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
NAMES = [b"a", b"b", b"c", b"d", b"\xff\xfe\n", b"n" * 255]
TOO_LONG = b"n" * 256
USERS = [(0, 0, []), (0, 0, []), (1000, 1000, []), (1001, 1001, [1000, 50]), (1002, 50, [])]
XATTRS = [b"user.a", b"user.b", b"trusted.t", b"security.s", b"user.", b"other.x"]
ACLS = [b"system.posix_acl_access", b"system.posix_acl_default"]
SET_TIME = 1_000_000_007_123_456_789
AT_SYMLINK_FOLLOW = 0x400
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
FILE_MAX = 3 << 20
OPEN_MAX = 8


def checked(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def become(user):
    uid, gid, groups = user
    os.seteuid(0)
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)


def kind_of(status):
    return stat.S_IFMT(status.st_mode)


def shown(status):
    """What must be the same of two nodes."""
    is_folder = stat.S_ISDIR(status.st_mode)
    is_device = stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
    return (
        oct(status.st_mode), status.st_uid, status.st_gid, status.st_nlink,
        None if is_folder else status.st_size, status.st_rdev if is_device else 0,
        status.st_mtime_ns == SET_TIME,
    )


def acl(rng):
    """A list, now and then one that is none."""
    users = [(2, rng.randrange(8), uid) for uid in (1000, 1001) if rng.random() < 0.4]
    groups = [(8, rng.randrange(8), gid) for gid in (50, 1000) if rng.random() < 0.4]
    none = 0xFFFFFFFF
    entries = [(1, rng.randrange(8), none), *users, (4, rng.randrange(8), none), *groups]
    if (users or groups or rng.random() < 0.3) and rng.random() < 0.95:
        entries.append((16, rng.randrange(8), none))
    if rng.random() < 0.98:
        entries.append((32, rng.randrange(8), none))
    if rng.random() < 0.03:
        entries = []
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


class Side:
    """One of the two folders, with what is open in it. What it works in lies deeper, so that ".." leads nowhere else."""

    def __init__(self, root):
        self.root = os.path.join(os.fsencode(root), b"inner")
        os.makedirs(self.root, exist_ok=True)
        for folder in (root, self.root):
            os.chmod(folder, 0o777)
        self.files = {}

    def at(self, path):
        return os.path.join(self.root, path)


class Fuzz:
    def __init__(self, local, mount, seed):
        self.sides = [Side(local), Side(mount)]
        self.rng = random.Random(seed)
        self.slots = {}
        self.done = []

    # What to do is chosen once, and then done on each side.

    def path(self):
        rng = self.rng
        depth = rng.choice([1, 1, 1, 2, 2, 3])
        parts = [rng.choice(NAMES[:4] if rng.random() < 0.9 else NAMES) for _ in range(depth)]
        if rng.random() < 0.01:
            parts[-1] = TOO_LONG
        if rng.random() < 0.02:
            parts.append(rng.choice([b"", b".", b".."]))
        return b"/".join(parts)

    def data(self):
        size = self.rng.choice([0, 1, 17, 4095, 4096, 4097, 5000, 70_000, 300_000])
        return self.rng.randbytes(size)

    def offset(self):
        rng = self.rng
        return rng.choice([0, 1, 4096, 65536, 1 << 20, (1 << 20) - 3, rng.randrange(FILE_MAX), rng.randrange(20_000)])

    def mode(self):
        return self.rng.choice([0o644, 0o600, 0o755, 0o777, 0o000, 0o444, 0o4755, 0o2755, 0o2644, 0o1777, 0o770, 0o070])

    def step(self):
        rng = self.rng
        name = rng.choices(list(OPERATIONS), weights=[weight for _, weight in OPERATIONS.values()])[0]
        build, _ = OPERATIONS[name]
        user = rng.choice(USERS)
        mask = rng.choice([0, 0o022, 0o022, 0o077])
        made = build(self)
        if made is None:
            return None
        what, work, paths = made
        stamped = paths + [os.path.dirname(path) for path in paths] if paths and rng.random() < 0.2 else []
        results = [self.run(side, work, user, mask, stamped) for side in self.sides]
        self.done.append(f"{name} {what} as {user[0]} umask {mask:03o} -> {str(results[0])[:200]}")
        if results[0] != results[1]:
            return f"local: {str(results[0])[:2000]}\nmount: {str(results[1])[:2000]}"
        return None

    def run(self, side, work, user, mask, stamped):
        """The result of the work, or its errno; and of paths which of them have the time that was set before."""
        for path in stamped:
            try:
                os.utime(side.at(path), ns=(SET_TIME, SET_TIME), follow_symlinks=False)
            except OSError:
                pass
        before = os.umask(mask)
        become(user)
        try:
            result = work(side)
        except OSError as error:
            result = errno.errorcode.get(error.errno, error.errno)
        finally:
            become(USERS[0])
            os.umask(before)
        looks = []
        for path in stamped:
            try:
                looks.append(os.lstat(side.at(path)).st_mtime_ns == SET_TIME)
            except OSError as error:
                looks.append(errno.errorcode[error.errno])
        return (result, looks) if stamped else result

    def close(self):
        for side in self.sides:
            for fd in side.files.values():
                os.close(fd)
            side.files.clear()
        self.slots.clear()

    def any_open(self):
        return self.rng.choice(list(self.slots)) if self.slots else None


# Each operation: what it is called in the log, the work on one side, and the paths that it is about.


def on_path(call):
    def build(fuzz):
        path = fuzz.path()
        return path, (lambda side: call(side.at(path))), [path]

    return build


def with_mode(call):
    def build(fuzz):
        path, mode = fuzz.path(), fuzz.mode()
        return f"{path} {mode:o}", (lambda side: call(side.at(path), mode)), [path]

    return build


def op_open(fuzz):
    rng = fuzz.rng
    path, mode, slot = fuzz.path(), fuzz.mode(), rng.randrange(OPEN_MAX)
    flags = rng.choice([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR]) | os.O_NONBLOCK
    for flag, chance in (
        (os.O_CREAT, 0.6), (os.O_EXCL, 0.1), (os.O_TRUNC, 0.15), (os.O_APPEND, 0.2), (os.O_NOFOLLOW, 0.1),
        (os.O_DIRECTORY, 0.05),
    ):
        if rng.random() < chance:
            flags |= flag
    fuzz.slots[slot] = flags

    def work(side):
        if slot in side.files:
            os.close(side.files.pop(slot))
        # Devices are the machine's, and a mount of BigFS does not let anybody open them.
        try:
            found = os.stat(side.at(path))
            if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
                return "a device"
        except OSError:
            pass
        fd = os.open(side.at(path), flags, mode)
        side.files[slot] = fd
        return shown(os.fstat(fd))

    return f"{path} {flags:o} {mode:o} in {slot}", work, [path]


def op_unnamed(fuzz):
    path, mode, slot = fuzz.path(), fuzz.mode(), fuzz.rng.randrange(OPEN_MAX)
    flags = os.O_TMPFILE | fuzz.rng.choice([os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_EXCL, os.O_RDONLY])
    fuzz.slots[slot] = flags

    def work(side):
        if slot in side.files:
            os.close(side.files.pop(slot))
        side.files[slot] = os.open(side.at(path), flags, mode)
        return shown(os.fstat(side.files[slot]))

    return f"{path} {flags:o} {mode:o} in {slot}", work, [path]


def on_file(make):
    """Work on an open file: make(fuzz) gives a name for the log and a function of (fd, side)."""

    def build(fuzz):
        slot = fuzz.any_open()
        if slot is None:
            return None
        what, call = make(fuzz)

        def work(side):
            if slot not in side.files:
                return "not open"
            return call(side.files[slot], side)

        return f"{slot} {what}", work, []

    return build


def f_write(fuzz):
    data, off = fuzz.data(), fuzz.offset()
    return f"{len(data)} at {off}", lambda fd, side: os.pwrite(fd, data, off)


def f_append(fuzz):
    data = fuzz.data()
    return f"{len(data)}", lambda fd, side: (os.lseek(fd, 0, os.SEEK_END), os.write(fd, data))


def f_read(fuzz):
    size, off = fuzz.rng.choice([1, 4096, 100_000, 2 << 20]), fuzz.offset()
    return f"{size} at {off}", lambda fd, side: hashlib.md5(os.pread(fd, size, off)).hexdigest()


def f_truncate(fuzz):
    size = fuzz.offset()
    return f"{size}", lambda fd, side: os.ftruncate(fd, size)


def f_allocate(fuzz):
    mode = fuzz.rng.choice([0, KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE])
    off, size = fuzz.offset(), fuzz.rng.choice([0, 1, 5000, 1 << 20])

    def call(fd, side):
        return checked(libc.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(size)))

    return f"mode {mode} {size} at {off}", call


def f_map(fuzz):
    data, off = fuzz.data()[:5000] or b"m", fuzz.rng.choice([0, 3, 4096, 9000])
    shared = fuzz.rng.random() < 0.7

    def call(fd, side):
        status = os.fstat(fd)
        size = status.st_size
        # A folder's size is its filesystem's affair.
        if not stat.S_ISREG(status.st_mode) or size < off + len(data):
            return "too short"
        with mmap.mmap(fd, size, mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE) as region:
            before = hashlib.md5(region[:]).hexdigest()
            region[off : off + len(data)] = data
            if shared:
                region.flush()
        return before

    return f"{'shared' if shared else 'private'} {len(data)} at {off}", call


def f_copy(fuzz):
    other, size = fuzz.any_open(), fuzz.rng.choice([1, 4096, 1 << 20])
    off, into = fuzz.offset(), fuzz.offset()

    def call(fd, side):
        target = side.files.get(other)
        if target is None:
            return "not open"
        total = 0
        while total < size:
            copied = os.copy_file_range(fd, target, size - total, off + total, into + total)
            if copied == 0:
                break
            total += copied
        return total

    return f"to {other} {size} from {off} to {into}", call


def f_mode(fuzz):
    mode = fuzz.mode()
    return f"{mode:o}", lambda fd, side: os.fchmod(fd, mode)


def owner(rng):
    """A new owner. (To nobody else, -1 and -1, removes set-id bits too, but the kernel does not tell FUSE of it.)"""
    return rng.choice([(-1, 0), (-1, 50), (-1, 1000), (0, -1), (1000, -1), (1001, -1), (0, 50), (1000, 1000), (1001, 50)])


def f_owner(fuzz):
    uid, gid = owner(fuzz.rng)
    return f"{uid}:{gid}", lambda fd, side: os.fchown(fd, uid, gid)


def f_link(fuzz):
    path = fuzz.path()

    def call(fd, side):
        checked(libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, side.at(path), AT_SYMLINK_FOLLOW))
        return shown(os.fstat(fd))

    return f"{path}", call


def f_close(fuzz):
    slots = [slot for slot in fuzz.slots]
    slot = fuzz.rng.choice(slots)

    def call(_fd, side):
        if slot in side.files:
            os.close(side.files.pop(slot))

    return f"and close {slot}", call


def op_link(fuzz):
    old, new = fuzz.path(), fuzz.path()
    return f"{old} {new}", lambda side: os.link(side.at(old), side.at(new), follow_symlinks=False), [old, new]


def op_symlink(fuzz):
    target, path = fuzz.rng.choice([fuzz.path().removesuffix(b"/.."), b".", b"nowhere", b"x" * 200]), fuzz.path()
    return f"{target} {path}", lambda side: os.symlink(target, side.at(path)), [path]


def op_rename(fuzz):
    old, new, flags = fuzz.path(), fuzz.path(), fuzz.rng.choice([0, 0, 0, 1, 2, 3])
    return (
        f"{old} {new} {flags}",
        lambda side: checked(libc.renameat2(-100, side.at(old), -100, side.at(new), flags)),
        [old, new],
    )


def op_mknod(fuzz):
    path, mode = fuzz.path(), fuzz.mode()
    kind = fuzz.rng.choice([stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFREG])
    device = os.makedev(1, 3) if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
    return f"{path} {kind:o} {mode:o}", lambda side: os.mknod(side.at(path), kind | mode, device), [path]


def op_chown(fuzz):
    path, follow = fuzz.path(), fuzz.rng.random() < 0.7
    uid, gid = owner(fuzz.rng)
    return f"{path} {uid}:{gid}", lambda side: os.chown(side.at(path), uid, gid, follow_symlinks=follow), [path]


def op_times(fuzz):
    path, follow = fuzz.path(), fuzz.rng.random() < 0.7
    times = fuzz.rng.choice([None, (SET_TIME, SET_TIME), (5, 1_999_999_999), (-1_500_000_000, 2**33 * 10**9)])

    def work(side):
        os.utime(side.at(path), ns=times, follow_symlinks=follow) if times else os.utime(side.at(path))
        if times:
            status = os.stat(side.at(path), follow_symlinks=follow)
            # The way there may lead through what is asked for, which counts as an access of folders and links.
            return status.st_atime_ns if stat.S_ISREG(status.st_mode) else None, status.st_mtime_ns
        return None

    return f"{path} {times}", work, [path]


def op_truncate(fuzz):
    path, size = fuzz.path(), fuzz.offset()
    return f"{path} {size}", lambda side: os.truncate(side.at(path), size), [path]


def op_access(fuzz):
    path, mask = fuzz.path(), fuzz.rng.randrange(8)
    return f"{path} {mask}", lambda side: os.access(side.at(path), mask, effective_ids=True), [path]


def op_setxattr(fuzz):
    rng = fuzz.rng
    path, follow = fuzz.path(), rng.random() < 0.8
    if rng.random() < 0.5:
        name, value, flags = rng.choice(ACLS), acl(rng), 0
    else:
        name, value, flags = rng.choice(XATTRS), rng.randbytes(rng.choice([0, 1, 200])), rng.choice([0, 0, 1, 2])
    return (
        f"{path} {name} {value.hex()[:400]} {flags}",
        lambda side: os.setxattr(side.at(path), name, value, flags, follow_symlinks=follow),
        [path],
    )


def op_removexattr(fuzz):
    path, name = fuzz.path(), fuzz.rng.choice(XATTRS + ACLS)
    return f"{path} {name}", lambda side: os.removexattr(side.at(path), name), [path]


def attributes(path):
    """Extended attributes of a node. (What a module of the machine keeps there is not the filesystem's.)"""
    names = sorted(name for name in os.listxattr(path, follow_symlinks=False) if name != "security.selinux")
    return [(name, os.getxattr(path, name, follow_symlinks=False)) for name in names]


def op_getxattrs(fuzz):
    path = fuzz.path()
    return path, lambda side: attributes(side.at(path)), [path]


def op_list(fuzz):
    path = fuzz.path() if fuzz.rng.random() < 0.8 else b"."
    return path, lambda side: sorted(os.listdir(side.at(path))), [path]


def read_all(path):
    with open(path, "rb") as file:
        return hashlib.md5(file.read()).hexdigest()


def op_content(fuzz):
    path = fuzz.path()

    def work(side):
        status = os.stat(side.at(path))
        return read_all(side.at(path)) if stat.S_ISREG(status.st_mode) else "not a file"

    return path, work, [path]


OPERATIONS = {
    "open": (op_open, 14),
    "pwrite": (on_file(f_write), 14),
    "append": (on_file(f_append), 4),
    "pread": (on_file(f_read), 8),
    "ftruncate": (on_file(f_truncate), 4),
    "fallocate": (on_file(f_allocate), 3),
    "mmap": (on_file(f_map), 4),
    "copy_file_range": (on_file(f_copy), 4),
    "fstat": (on_file(lambda fuzz: ("", lambda fd, side: shown(os.fstat(fd)))), 4),
    "fsync": (on_file(lambda fuzz: ("", lambda fd, side: os.fsync(fd))), 1),
    "fchmod": (on_file(f_mode), 1),
    "fchown": (on_file(f_owner), 1),
    "tmpfile": (op_unnamed, 2),
    "flink": (on_file(f_link), 3),
    "close": (on_file(f_close), 4),
    "mkdir": (with_mode(os.mkdir), 7),
    "rmdir": (on_path(os.rmdir), 3),
    "mknod": (op_mknod, 3),
    "symlink": (op_symlink, 4),
    "readlink": (on_path(os.readlink), 1),
    "link": (op_link, 4),
    "unlink": (on_path(os.unlink), 5),
    "rename": (op_rename, 8),
    "chmod": (with_mode(os.chmod), 5),
    "chown": (op_chown, 4),
    "utime": (op_times, 3),
    "truncate": (op_truncate, 2),
    "lstat": (on_path(lambda path: shown(os.lstat(path))), 6),
    "access": (op_access, 6),
    "setxattr": (op_setxattr, 6),
    "removexattr": (op_removexattr, 2),
    "xattrs": (op_getxattrs, 3),
    "listdir": (op_list, 4),
    "content": (op_content, 3),
}


def tree(root):
    """Everything below a folder, as it must be on both sides."""
    found = {}

    def walk(path, shown_path):
        status = os.lstat(path)
        content = None
        if stat.S_ISREG(status.st_mode):
            content = read_all(path)
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        found[shown_path] = (shown(status), content, attributes(path))
        if stat.S_ISDIR(status.st_mode):
            for name in sorted(os.listdir(path)):
                walk(os.path.join(path, name), os.path.join(shown_path, name))

    walk(os.fsencode(root), b"")
    return found


def compare(local, mount):
    """What differs in the trees; None: nothing."""
    first, second = tree(local), tree(mount)
    for path in sorted(first.keys() | second.keys()):
        if first.get(path) != second.get(path):
            return f"{path}\nlocal: {first.get(path)}\nmount: {second.get(path)}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("local")
    parser.add_argument("mount")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=10**9)
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if options.compare:
        difference = compare(options.local, options.mount)
        if difference is not None:
            sys.exit(f"the trees differ: {difference}")
        return
    fuzz = Fuzz(options.local, options.mount, options.seed)
    until = time.monotonic() + options.seconds
    steps = 0
    difference = None
    while difference is None and steps < options.steps and time.monotonic() < until:
        difference = fuzz.step()
        steps += 1
        if options.verbose and fuzz.done:
            print(steps, fuzz.done[-1], flush=True)
        del fuzz.done[:-30]
        if difference is None and steps % 2000 == 0:
            difference = compare(options.local, options.mount)
            print(f"seed {options.seed}: {steps} steps", flush=True)
    fuzz.close()
    difference = difference or compare(options.local, options.mount)
    if difference is not None:
        print("\n".join(fuzz.done))
        sys.exit(f"seed {options.seed}, step {steps}: the sides differ\n{difference}")
    print(f"seed {options.seed}: {steps} steps without a difference")


main()
