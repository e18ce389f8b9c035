#!/usr/bin/env python3
"""Does random operations on the data of a few files, as fsx does, and compares what is read with what must be there.

usage: data.py FOLDER [FOLDER..] [--seed N] [--steps N] [--seconds N] [--lock fcntl|flock] [--lock-files] [--verbose]

Several folders show the same: mounts of one filesystem. Then each step works in one of them, under a lock that it takes
there: on a file for that alone, or (`--lock-files`) on all files that are open there. Whoever has the lock must see what
was done under it elsewhere.

A seed always does the same operations, and begins without the files of an earlier run. Exit 1 when something is not as it must be, with the seed, the
step, the first wrong byte and the last operations.
"""

import argparse
import collections
import ctypes
import errno
import fcntl
import mmap
import os
import random
import struct
import sys
import time
import zlib

libc = ctypes.CDLL(None, use_errno=True)
NAMES = ["a", "b", "c"]
LOCK = "lock"
PAGE, SLOT = 4096, 1 << 20
FILE_MAX = 8 * SLOT
HANDLES_MAX = 5
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
EDGES = [0, 1, PAGE, 65536, 131072, SLOT, 2 * SLOT, 3 * SLOT, 5 * SLOT, FILE_MAX - 70_000]


class Wrong(Exception):
    """The filesystem is not as it must be."""


class File:
    """What a file must be like."""

    def __init__(self, name):
        self.name = name
        self.content = bytearray()
        # When it was set, and nothing was written since.
        self.mtime = None

    def put(self, data, off):
        self.resize(max(len(self.content), off))
        self.content[off : off + len(data)] = data
        self.mtime = None

    def resize(self, size):
        if size > len(self.content):
            self.content.extend(bytes(size - len(self.content)))
        del self.content[size:]
        self.mtime = None


class Handle:
    def __init__(self, fd, file, flags):
        self.fd, self.file, self.flags = fd, file, flags

    @property
    def reads(self):
        return self.flags & os.O_ACCMODE != os.O_WRONLY

    @property
    def writes(self):
        return self.flags & os.O_ACCMODE != os.O_RDONLY


class Folder:
    """One of the folders that show the same, with what is open through it."""

    def __init__(self, path, lock, lock_files):
        self.path = path
        self.lock_by = {"fcntl": fcntl.lockf, "flock": fcntl.flock}[lock]
        self.lock_files = lock_files
        self.handles = []
        self.lock_handle = Handle(os.open(self.at(LOCK), os.O_RDWR | os.O_CREAT), None, os.O_RDWR)

    def at(self, name):
        return os.path.join(self.path, name)

    def locked(self):
        """What the lock is about: one descriptor of each file, because flock's locks are those of a descriptor."""
        if not self.lock_files:
            return [self.lock_handle]
        return {id(handle.file): handle for handle in sorted(self.handles, key=lambda handle: handle.writes)}.values()

    def lock(self):
        for handle in self.locked():
            self.lock_one(handle)

    def lock_one(self, handle):
        self.lock_by(handle.fd, fcntl.LOCK_EX if handle.writes else fcntl.LOCK_SH)

    def unlock(self):
        for handle in [*self.handles, self.lock_handle]:
            self.lock_by(handle.fd, fcntl.LOCK_UN)


def pwrite_all(fd, data, off):
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, off)
        view, off = view[count:], off + count


def pread_all(fd, size, off):
    parts = []
    while size > 0 and (part := os.pread(fd, size, off)):
        parts.append(part)
        size, off = size - len(part), off + len(part)
    return b"".join(parts)


def is_hole(content, start, end):
    return not any(content[start:end])


class Fuzz:
    def __init__(self, paths, seed, lock, lock_files):
        self.rng = random.Random(seed)
        self.folders = [Folder(path, lock, lock_files) for path in paths]
        self.files = {}
        self.done = collections.deque(maxlen=30)
        # What was written of late, to recognize bytes that are where they do not belong.
        self.written = collections.deque(maxlen=60)
        self.step_number = 0
        self.folder = self.folders[0]
        for name in set(os.listdir(paths[0])) & set(NAMES):
            os.unlink(self.folder.at(name))

    # What is chosen.

    def offset(self, file):
        rng = self.rng
        size = len(file.content)
        base = rng.choice([rng.choice(EDGES), rng.randrange(size + 1), size, rng.randrange(FILE_MAX)])
        return min(max(0, base + rng.choice([0, 0, -1, 1, -3, 100, -PAGE, rng.randrange(-5000, 5000)])), FILE_MAX)

    def length(self, off, most=FILE_MAX):
        rng = self.rng
        size = rng.choice([
            rng.randrange(1, 100), rng.randrange(1, 100), rng.randrange(1, 5000), PAGE, PAGE + 1, rng.randrange(1, 200_000),
            65536, SLOT, SLOT + rng.randrange(-5, 5), rng.randrange(1, 3 * SLOT) if rng.random() < 0.4 else 4000,
        ])
        # Up to the end of a page or slot, now and then.
        edge = rng.choice([0, 0, 0, PAGE, SLOT])
        if edge and size > edge:
            size -= (off + size) % edge
        return max(0, min(size, FILE_MAX - off, most))

    def data(self, size, off):
        data = self.rng.randbytes(size)
        self.written.append((self.step_number, off, data))
        return data

    def handle(self, reads=False, writes=False):
        fit = [h for h in self.folder.handles if (h.reads or not reads) and (h.writes or not writes)]
        return self.rng.choice(fit) if fit else None

    # A step.

    def step(self):
        self.step_number += 1
        rng = self.rng
        self.folder = rng.choice(self.folders)
        name = rng.choices(list(OPERATIONS), weights=[weight for _, weight in OPERATIONS.values()])[0]
        self.done.append(f"{self.step_number} {self.folders.index(self.folder)} {name}")
        self.folder.lock()
        OPERATIONS[name][0](self)
        if self.folder.handles:
            file = rng.choice(self.folder.handles).file
            self.check(file, rng.random() < 0.1)
        self.folder.unlock()

    def say(self, what):
        self.done[-1] += f" {what}"

    def check(self, file, whole=False):
        """Compares a range, or everything, by one of its descriptors or another one."""
        rng = self.rng
        size = len(file.content)
        off = 0 if whole else rng.randrange(size + 1)
        length = size + 1 if whole else self.length(off)
        fits = [h for h in self.folder.handles if h.file is file and h.reads]
        if fits and (rng.random() < 0.7 or file.name is None):
            fd = rng.choice(fits).fd
            self.compare(file, fd, off, length)
        elif file.name is not None:
            fd = os.open(self.folder.at(file.name), os.O_RDONLY)
            self.compare(file, fd, off, length)
            os.close(fd)

    def compare(self, file, fd, off, length):
        status = os.fstat(fd)
        if status.st_size != len(file.content):
            raise Wrong(f"{file.name}: fstat says {status.st_size} bytes, must be {len(file.content)}")
        if file.mtime is not None and status.st_mtime_ns != file.mtime:
            raise Wrong(f"{file.name}: mtime {status.st_mtime_ns}, was set to {file.mtime}")
        self.same(file, off, pread_all(fd, length, off), length, "read")

    def same(self, file, off, found, length, how):
        expected = bytes(file.content[off : off + length])
        if found == expected:
            return
        if len(found) != len(expected):
            raise Wrong(f"{file.name}: {how} of {length} at {off} gave {len(found)} bytes, must be {len(expected)}")
        first = next(i for i in range(len(found)) if found[i] != expected[i])
        last = next(i for i in reversed(range(len(found))) if found[i] != expected[i])
        raise Wrong(
            f"{file.name} (size {len(file.content)}): {how} of {length} at {off} is wrong from {off + first} to {off + last}\n"
            f"expected {expected[first : first + 24].hex()}: {self.origin(expected[first : first + 24])}\n"
            f"found    {found[first : first + 24].hex()}: {self.origin(found[first : first + 24])}"
        )

    def origin(self, piece):
        if not any(piece):
            return "zeros"
        for step, off, data in reversed(self.written):
            at = data.find(piece)
            if at >= 0:
                return f"written in step {step} for offset {off + at}"
        return "written earlier, or never"

    def end(self):
        """Everything, through every folder."""
        self.done.append("at the end")
        for handle in self.folders[0].handles[:] if len(self.folders) == 1 else []:
            self.check(handle.file, True)
        for folder in self.folders:
            for handle in folder.handles:
                os.close(handle.fd)
            folder.handles.clear()
        for self.folder in self.folders:
            present = sorted(set(os.listdir(self.folder.path)) - {LOCK})
            if present != sorted(self.files):
                raise Wrong(f"there are {present}, must be {sorted(self.files)}")
            for file in self.files.values():
                self.check(file, True)

    def close(self, handle):
        os.close(handle.fd)
        self.folder.handles.remove(handle)


# The operations. Each does the same to the file and to what it must be like.


def op_open(fuzz):
    rng, folder = fuzz.rng, fuzz.folder
    name = rng.choice(NAMES)
    flags = rng.choice([os.O_RDWR, os.O_RDWR, os.O_RDWR, os.O_RDONLY, os.O_WRONLY]) | os.O_CREAT
    for flag, chance in ((os.O_TRUNC, 0.08), (os.O_APPEND, 0.2), (os.O_DSYNC, 0.05)):
        if rng.random() < chance and (flag != os.O_TRUNC or flags & os.O_ACCMODE != os.O_RDONLY):
            flags |= flag
    fuzz.say(f"{name} {flags:o}")
    if len(folder.handles) >= HANDLES_MAX:
        fuzz.close(rng.choice(folder.handles))
    fd = os.open(folder.at(name), flags, 0o644)
    file = fuzz.files.setdefault(name, File(name))
    if flags & os.O_TRUNC:
        file.resize(0)
    handle = Handle(fd, file, flags)
    if folder.lock_files and all(other.file is not file for other in folder.handles):
        folder.lock_one(handle)
    folder.handles.append(handle)


def with_handle(**need):
    """An operation on one of the open files."""

    def wrap(call):
        def op(fuzz):
            handle = fuzz.handle(**need)
            if handle is None:
                return op_open(fuzz)
            fuzz.say(f"{handle.file.name} fd {handle.fd}")
            return call(fuzz, handle)

        return op

    return wrap


@with_handle(writes=True)
def op_write(fuzz, handle):
    file = handle.file
    off = len(file.content) if handle.flags & os.O_APPEND else fuzz.offset(file)
    size = fuzz.length(off)
    fuzz.say(f"{size} at {off}")
    data = fuzz.data(size, off)
    pwrite_all(handle.fd, data, off)
    if data:
        file.put(data, off)


@with_handle(writes=True)
def op_append(fuzz, handle):
    file = handle.file
    off = len(file.content)
    data = fuzz.data(fuzz.length(off, 100_000), off)
    fuzz.say(f"{len(data)} at {off}")
    if os.lseek(handle.fd, 0, os.SEEK_END) != off:
        raise Wrong(f"{file.name}: the end is at {os.lseek(handle.fd, 0, os.SEEK_END)}, must be at {off}")
    if data:
        # On a local disk too, a large write may be done in parts.
        pwrite_all(handle.fd, data, off)
        file.put(data, off)


@with_handle(writes=True)
def op_truncate(fuzz, handle):
    file = handle.file
    size = fuzz.offset(file)
    by_path = file.name is not None and fuzz.rng.random() < 0.3
    fuzz.say(f"{'by path' if by_path else ''} from {len(file.content)} to {size}")
    os.truncate(fuzz.folder.at(file.name) if by_path else handle.fd, size)
    file.resize(size)


@with_handle(writes=True)
def op_allocate(fuzz, handle):
    file = handle.file
    mode = fuzz.rng.choice([0, KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE, KEEP_SIZE | PUNCH_HOLE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE])
    off = fuzz.offset(file)
    size = fuzz.length(off)
    fuzz.say(f"mode {mode} {size} at {off}")
    if size == 0:
        return
    if libc.fallocate(handle.fd, mode, ctypes.c_long(off), ctypes.c_long(size)) < 0:
        raise OSError(ctypes.get_errno(), "fallocate")
    file.mtime = None
    if mode & (PUNCH_HOLE | ZERO_RANGE):
        end = min(off + size, len(file.content))
        if end > off:
            file.content[off:end] = bytes(end - off)
    if not mode & KEEP_SIZE:
        file.resize(max(len(file.content), off + size))


@with_handle(reads=True)
def op_copy(fuzz, source):
    target = fuzz.handle(writes=True)
    if target is None or target.flags & os.O_APPEND:
        return
    off, into = fuzz.offset(source.file), fuzz.offset(target.file)
    size = min(fuzz.length(into), max(0, len(source.file.content) - off))
    if source.file is target.file and abs(off - into) < size:
        return
    fuzz.say(f"to {target.file.name} fd {target.fd} {size} from {off} to {into}")
    # The kernel copies up to the end that it knows of, and asks for that nowhere else.
    os.fstat(source.fd)
    done = 0
    while done < size:
        count = os.copy_file_range(source.fd, target.fd, size - done, off + done, into + done)
        if count == 0:
            raise Wrong(f"copy_file_range gave 0 after {done} of {size}")
        done += count
    if size:
        target.file.put(bytes(source.file.content[off : off + size]), into)


@with_handle(reads=True)
def op_map(fuzz, handle):
    file, rng = handle.file, fuzz.rng
    size = len(file.content)
    if os.fstat(handle.fd).st_size != size:
        raise Wrong(f"{file.name}: fstat says {os.fstat(handle.fd).st_size} bytes, must be {size}")
    if size == 0:
        return
    off = min(fuzz.offset(file), size - 1)
    length = max(1, fuzz.length(off, size - off))
    start = off - off % PAGE
    writes = handle.writes and rng.random() < 0.6
    access = mmap.PROT_READ | (mmap.PROT_WRITE if writes else 0)
    kind = mmap.MAP_SHARED if writes or rng.random() < 0.5 else mmap.MAP_PRIVATE
    fuzz.say(f"{'write' if writes else 'read'} {length} at {off}")
    with mmap.mmap(handle.fd, off - start + length, kind, access, offset=start) as region:
        if not writes or rng.random() < 0.5:
            fuzz.same(file, off, region[off - start :], length, "mapping")
        if writes:
            data = fuzz.data(length, off)
            region[off - start :] = data
            file.put(data, off)
            region.flush()


@with_handle(reads=True)
def op_seek(fuzz, handle):
    content, fd = handle.file.content, handle.fd
    off = fuzz.offset(handle.file)
    fuzz.say(f"from {off}")
    try:
        data = os.lseek(fd, off, os.SEEK_DATA)
        if not off <= data < len(content):
            raise Wrong(f"SEEK_DATA from {off} gave {data} of {len(content)}")
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        data = max(off, len(content))
    if not is_hole(content, off, data):
        raise Wrong(f"SEEK_DATA from {off} gave {data}, but what is between is not all zero")
    try:
        hole = os.lseek(fd, off, os.SEEK_HOLE)
    except OSError as error:
        if error.errno != errno.ENXIO or off < len(content):
            raise
        return
    if not off <= hole <= len(content):
        raise Wrong(f"SEEK_HOLE from {off} gave {hole} of {len(content)}")
    if hole < len(content):
        try:
            data = os.lseek(fd, hole, os.SEEK_DATA)
        except OSError:
            data = len(content)
        if data == hole or not is_hole(content, hole, data):
            raise Wrong(f"SEEK_HOLE from {off} gave {hole}, which is no hole up to {data}")


@with_handle()
def op_direct(fuzz, handle):
    """Past the page cache, by this descriptor or one of its own."""
    file, rng = handle.file, fuzz.rng
    off = fuzz.offset(file) // PAGE * PAGE
    size = max(1, fuzz.length(off) // PAGE) * PAGE
    own = file.name is not None and rng.random() < 0.5
    writes = (own or handle.writes) and rng.random() < 0.5 and not handle.flags & os.O_APPEND
    fuzz.say(f"{'write' if writes else 'read'} {size} at {off}{' by its own' if own else ''}")
    if not writes and not own and not handle.reads:
        return
    before = fcntl.fcntl(handle.fd, fcntl.F_GETFL)
    if own:
        fd = os.open(fuzz.folder.at(file.name), os.O_RDWR | os.O_DIRECT)
    else:
        fd = handle.fd
        fcntl.fcntl(fd, fcntl.F_SETFL, before | os.O_DIRECT)
    with mmap.mmap(-1, size) as buffer:
        if writes:
            buffer[:] = fuzz.data(size, off)
            if os.pwritev(fd, [buffer], off) != size:
                raise Wrong("a direct write was not whole")
            file.put(buffer[:], off)
        else:
            count = os.preadv(fd, [buffer], off)
            fuzz.same(file, off, buffer[:count], size, "direct read")
    if own:
        os.close(fd)
    else:
        fcntl.fcntl(fd, fcntl.F_SETFL, before)


@with_handle()
def op_sync(fuzz, handle):
    fuzz.rng.choice([os.fsync, os.fdatasync])(handle.fd)


@with_handle()
def op_close(fuzz, handle):
    fuzz.close(handle)


@with_handle()
def op_reopen(fuzz, handle):
    """Nothing of the file is open here for a moment."""
    same = [h for h in fuzz.folder.handles if h.file is handle.file]
    for h in same:
        fuzz.close(h)
    if handle.file.name is None:
        return
    for h in same:
        fd = os.open(fuzz.folder.at(handle.file.name), h.flags & ~(os.O_TRUNC | os.O_CREAT))
        fuzz.folder.handles.append(Handle(fd, h.file, h.flags))


@with_handle()
def op_cold(fuzz, handle):
    how = fuzz.rng.choices(["fadvise", "drop"], [9, 1])[0]
    fuzz.say(how)
    os.fsync(handle.fd)
    if how == "fadvise":
        os.posix_fadvise(handle.fd, 0, 0, os.POSIX_FADV_DONTNEED)
    elif os.access("/proc/sys/vm/drop_caches", os.W_OK):
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3")


@with_handle(writes=True)
def op_time(fuzz, handle):
    when = 10**18 + fuzz.rng.randrange(10**9) * 1000
    os.utime(handle.fd, ns=(when, when))
    handle.file.mtime = when


def op_rename(fuzz):
    if not fuzz.files:
        return
    old, new = fuzz.rng.choice(sorted(fuzz.files)), fuzz.rng.choice(NAMES)
    fuzz.say(f"{old} {new}")
    os.rename(fuzz.folder.at(old), fuzz.folder.at(new))
    if old == new:
        return
    file = fuzz.files.pop(old)
    replaced = fuzz.files.pop(new, None)
    if replaced is not None:
        replaced.name = None
    fuzz.files[new] = file
    file.name = new


def op_unlink(fuzz):
    if not fuzz.files:
        return
    name = fuzz.rng.choice(sorted(fuzz.files))
    fuzz.say(name)
    os.unlink(fuzz.folder.at(name))
    fuzz.files.pop(name).name = None


OPERATIONS = {
    "open": (op_open, 6),
    "write": (op_write, 30),
    "append": (op_append, 10),
    "truncate": (op_truncate, 8),
    "fallocate": (op_allocate, 7),
    "copy": (op_copy, 7),
    "mmap": (op_map, 12),
    "seek": (op_seek, 5),
    "direct": (op_direct, 6),
    "sync": (op_sync, 3),
    "close": (op_close, 3),
    "reopen": (op_reopen, 4),
    "cold": (op_cold, 3),
    "time": (op_time, 2),
    "rename": (op_rename, 2),
    "unlink": (op_unlink, 1),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=10**9)
    parser.add_argument("--lock", choices=["fcntl", "flock"], default="fcntl")
    parser.add_argument("--lock-files", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    fuzz = Fuzz(options.folders, options.seed, options.lock, options.lock_files)
    until = time.monotonic() + options.seconds
    print(f"seed {options.seed}", flush=True)
    try:
        while fuzz.step_number < options.steps and time.monotonic() < until:
            fuzz.step()
            if options.verbose:
                print(fuzz.done[-1], flush=True)
        fuzz.end()
    except (Wrong, OSError) as error:
        print("\n".join(fuzz.done))
        sys.exit(f"seed {options.seed}, step {fuzz.step_number}: {error}")
    print(f"seed {options.seed}: {fuzz.step_number} steps without a difference")


main()
