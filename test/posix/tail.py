#!/usr/bin/env python3
"""One process changes files in one folder, others read them at the same time in the other folders.

usage: tail.py FOLDER [FOLDER..] [--readers N] [--seed N] [--seconds N]

The folders show the same: mounts of one filesystem (one folder: all in that). In turn, for as long as told:

append   the writer appends records with a checksum, of 10 to 100,000 bytes of which none is zero, now and then with
         fsync or a close. The readers learn the size by their descriptor, by the path, by listing or mapping the file,
         and read on by their descriptor, another one or a mapping. They must find the beginning of what the writer
         writes, as long as the size says, never shorter than before, and all that was closed or fsynced before an open.
replace  the writer makes a new file and renames it over the last one. Who opens the path must find one that is whole
         and not older than what was renamed before; who has an old one open, that one.

Exit 1, with the seed, when something is not as it must be.
"""

import argparse
import errno
import mmap
import os
import random
import struct
import sys
import time
import traceback
import zlib

LOG, CURRENT = "log", "current"
ROUND_MAX = 12 << 20
PATIENCE = 20
HEADER = b"R%09d %06d %010d\n"
HEADER_SIZE = len(HEADER % (0, 0, 0))
NO_ZEROS = bytes([1, *range(1, 256)])


class Wrong(Exception):
    """The filesystem is not as it must be."""


class Board:
    """Numbers that the processes share past the filesystem."""

    NAMES = ["safe", "final", "done", "generation"]

    def __init__(self):
        self.region = mmap.mmap(-1, 8 * len(self.NAMES))

    def get(self, name):
        return struct.unpack_from("<q", self.region, 8 * self.NAMES.index(name))[0]

    def set(self, name, value):
        struct.pack_into("<q", self.region, 8 * self.NAMES.index(name), value)


def record(number, payload):
    return HEADER % (number, len(payload), zlib.crc32(payload)) + payload


def read_all(fd, off, size):
    parts = []
    while size > 0 and (part := os.pread(fd, min(size, 1 << 20), off)):
        parts.append(part)
        size, off = size - len(part), off + len(part)
    return b"".join(parts)


def payload_of(rng, most):
    return rng.randbytes(rng.choice([10, rng.randrange(10, 300), rng.randrange(10, most)])).translate(NO_ZEROS)


# Appending.


def append(path, board, rng):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    size = number = 0
    records = rng.choice([20, 200, 400])
    while size < ROUND_MAX and number < records:
        data = record(number, payload_of(rng, 100_000))
        number += 1
        cut = rng.choice([len(data), len(data), rng.randrange(1, len(data))])
        for part in (data[:cut], data[cut:]):
            while part:
                count = os.write(fd, part)
                part, size = part[count:], size + count
        how = rng.random()
        if how < 0.1:
            os.fsync(fd)
            board.set("safe", size)
        elif how < 0.15:
            os.close(fd)
            board.set("safe", size)
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.close(fd)
    board.set("safe", size)
    board.set("final", size)


class Follower:
    """Reads what is appended, in every way."""

    def __init__(self, folder, rng):
        self.folder, self.rng = folder, rng
        self.path = os.path.join(folder, LOG)
        self.fd = os.open(self.path, os.O_RDONLY)
        self.size = self.pos = self.number = 0
        self.rest = b""

    def learn(self):
        """The size, and how it was learnt."""
        how = self.rng.choice(["fstat", "stat", "list", "end"])
        if how == "fstat":
            return os.fstat(self.fd).st_size, how
        if how == "stat":
            return os.stat(self.path).st_size, how
        if how == "end":
            return os.lseek(self.fd, 0, os.SEEK_END), how
        with os.scandir(self.folder) as entries:
            return next(entry.stat().st_size for entry in entries if entry.name == LOG), how

    def step(self, board):
        rng = self.rng
        safe = board.get("safe")
        way = rng.choice(["held", "held", "open", "map", "beyond"])
        fd = os.open(self.path, os.O_RDONLY) if way == "open" else self.fd
        try:
            size, how = (os.fstat(fd).st_size, "fstat") if way == "open" else self.learn()
            # A size that the kernel hears while it is told that the file has changed it shows, but does not keep.
            if (how == "end" and size < self.size) or way == "map":
                size = self.kept(fd, max(size, self.size))
            where = f"{way}, size {size} by {how}, read to {self.pos}"
            if size < self.size:
                raise Wrong(f"the file was {self.size} bytes long and has become shorter: {where}")
            if way == "open" and size < safe:
                raise Wrong(f"{safe} bytes were closed or fsynced before it was opened: {where}")
            self.size = size
            # Some of it again, now and then.
            start = self.pos if rng.random() < 0.8 else rng.randrange(self.pos + 1)
            data = self.read(fd, way, start, size)
            # While a write of this machine is in progress, stat tells its end before the kernel lets anybody read there.
            until = time.monotonic() + PATIENCE
            while len(data) < size - start and time.monotonic() < until:
                data = self.read(fd, way, start, size)
            if len(data) < size - start:
                raise Wrong(f"only {len(data)} bytes from {start}: {where}")
            zero = data.find(0)
            if zero >= 0:
                raise Wrong(f"a zero that nobody wrote at {start + zero} of {start + len(data)}: {where}")
            self.size = max(self.size, start + len(data))
            self.take(data[self.pos - start :], where)
        finally:
            if way == "open":
                os.close(fd)

    @staticmethod
    def kept(fd, size):
        """Where the file ends for the kernel, when that is there."""
        until = time.monotonic() + PATIENCE
        while (end := os.lseek(fd, 0, os.SEEK_END)) < size and time.monotonic() < until:
            pass
        return end

    def read(self, fd, way, start, size):
        if way == "beyond":
            return read_all(fd, start, 1 << 40)
        if way != "map" or size == start:
            return read_all(fd, start, size - start)
        with mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as region:
            return region[start:size]

    def take(self, data, where):
        self.pos += len(data)
        self.rest += data
        while len(self.rest) >= HEADER_SIZE:
            header = self.rest[:HEADER_SIZE]
            if header[:1] != b"R" or int(header[1:10]) != self.number:
                raise Wrong(f"record {self.number} does not begin at {self.pos - len(self.rest)}: {header!r}; {where}")
            size, checksum = int(header[11:17]), int(header[18:28])
            if len(self.rest) < HEADER_SIZE + size:
                return
            if zlib.crc32(self.rest[HEADER_SIZE : HEADER_SIZE + size]) != checksum:
                raise Wrong(f"record {self.number} at {self.pos - len(self.rest)} is not what was written; {where}")
            self.rest = self.rest[HEADER_SIZE + size :]
            self.number += 1


def follow(folder, board, rng):
    follower = Follower(folder, rng)
    while (final := board.get("final")) == 0 or follower.pos < final:
        follower.step(board)
        if final and follower.pos < final:
            # Closed: now it must be there for who opens it.
            os.close(follower.fd)
            follower.fd = os.open(follower.path, os.O_RDONLY)
            if os.fstat(follower.fd).st_size != final:
                raise Wrong(f"{os.fstat(follower.fd).st_size} bytes, but {final} were closed")
    if follower.pos != final or follower.rest:
        raise Wrong(f"read {follower.pos} bytes, but {final} were written")
    os.close(follower.fd)


# Replacing.


def replace(folder, board, rng, count):
    new = os.path.join(folder, "new")
    for _ in range(count):
        generation = board.get("generation") + 1
        payload = payload_of(rng, rng.choice([5000, 100_000, 3 << 20]))
        data = b"%09d %010d" % (generation, zlib.crc32(payload)) + payload
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if rng.random() < 0.5 else os.O_EXCL), 0o644)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view[: rng.choice([4096, 70_000, 1 << 20])]) :]
        if rng.random() < 0.3:
            os.fsync(fd)
        os.close(fd)
        os.rename(new, os.path.join(folder, CURRENT))
        board.set("generation", generation)


def generation_of(fd, where):
    """Which one is open there, whole."""
    size = os.fstat(fd).st_size
    data = read_all(fd, 0, 1 << 40)
    if len(data) != size:
        raise Wrong(f"{len(data)} bytes, fstat says {size}: {where}")
    if len(data) < 20 or zlib.crc32(data[20:]) != int(data[10:20]):
        raise Wrong(f"not one that was written, {size} bytes, {data[:20]!r}, zero at {data.find(0)}: {where}")
    return int(data[:9])


def by_name(work):
    """The kernel tries twice to find a file and use it; one that is replaced meanwhile both times is ESTALE, as on NFS."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except OSError as error:
            if error.errno != errno.ESTALE or time.monotonic() > until:
                raise


def look(folder, board, rng):
    path = os.path.join(folder, CURRENT)
    held = []
    while not board.get("done"):
        if rng.random() < 0.3:
            by_name(lambda: os.stat(path))
        if rng.random() < 0.2:
            by_name(lambda: [entry.stat().st_size for entry in os.scandir(folder) if entry.name == CURRENT])
        least = board.get("generation")
        fd = by_name(lambda: os.open(path, os.O_RDONLY))
        found = generation_of(fd, f"opened after {least} was there")
        if found < least:
            raise Wrong(f"{found} was opened after {least} was there")
        held.append((fd, found))
        fd, expected = held[rng.randrange(len(held))]
        found = generation_of(fd, f"held, {expected}")
        if found != expected:
            raise Wrong(f"{expected} was opened, it is {found} now")
        while len(held) > 4:
            os.close(held.pop(rng.randrange(len(held)))[0])
    for fd, _ in held:
        os.close(fd)


# Both.


def spawn(work):
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except Wrong as error:
        print(f"wrong: {error}", flush=True)
        os._exit(1)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def is_fine(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def play(seed, board, writing, reading, readers):
    """A process that writes, and one that reads in each of these folders. False: something was wrong."""
    pids = [spawn(lambda n=n, at=at: reading(at, random.Random(f"{seed} {n}"))) for n, at in enumerate(readers)]
    written = is_fine(spawn(lambda: writing(random.Random(seed))))
    board.set("done", 1)
    # Nobody waits for what was never written.
    if not written:
        board.set("final", -1)
    return all([is_fine(pid) for pid in pids]) and written


def appending(seed, board, folder, readers):
    path = os.path.join(folder, LOG)
    if os.path.exists(path):
        os.unlink(path)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
    for name in ("safe", "final"):
        board.set(name, 0)
    return play(seed, board, lambda rng: append(path, board, rng), lambda at, rng: follow(at, board, rng), readers)


def replacing(seed, board, folder, readers):
    board.set("done", 0)
    replace(folder, board, random.Random(seed), 1)
    return play(
        seed, board, lambda rng: replace(folder, board, rng, 30), lambda at, rng: look(at, board, rng), readers
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--readers", type=int, help="default: one in each folder")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    others = options.folders[1:] or options.folders
    readers = [others[n % len(others)] for n in range(options.readers or len(others))]
    until = time.monotonic() + options.seconds
    board = Board()
    rounds = 0
    print(f"seed {options.seed}", flush=True)
    while rounds == 0 or time.monotonic() < until:
        seed = options.seed + rounds
        for play_it in (appending, replacing):
            if not play_it(seed, board, options.folders[0], readers):
                sys.exit(f"seed {seed}: {play_it.__name__} went wrong")
        rounds += 1
    print(f"seed {options.seed}: {rounds} rounds, nothing wrong")


main()
