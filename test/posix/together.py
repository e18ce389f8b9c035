#!/usr/bin/env python3
"""Several processes change one file at the same time, each under a lock on it, and verify what they find there.

usage: together.py FOLDER [FOLDER..] [--processes N] [--rounds N] [--lock fcntl|flock] [--seed N]

The folders show the same; the processes take turns in using them. The file begins with a generation, its size and the
checksum of the rest. Whoever has the lock must find all three right, and the generation not older than when he had it
last; at the end it must be the number of all changes. Exit 1 when something is not as it must be.
"""

import argparse
import fcntl
import mmap
import os
import random
import struct
import sys
import zlib

HEAD = struct.Struct("<QQI")
SIZE_MAX = 3 << 20
LOCKS = {"fcntl": fcntl.lockf, "flock": fcntl.flock}


class Process:
    def __init__(self, path, seed):
        self.path = path
        self.rng = random.Random(seed)
        self.fd = os.open(path, os.O_RDWR)
        self.seen = 0
        # To be closed without the lock: a process loses its fcntl lock with any descriptor of the file.
        self.later = []

    def read(self):
        """Everything, in some way."""
        size = os.fstat(self.fd).st_size
        how = self.rng.choice(["held", "open", "map"])
        if how == "map":
            region = mmap.mmap(self.fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
            self.later.append(region.close)
            return region[:], how
        fd = self.fd
        if how == "open":
            fd = os.open(self.path, os.O_RDONLY)
            self.later.append(lambda: os.close(fd))
        parts = []
        while part := os.pread(fd, SIZE_MAX, sum(map(len, parts))):
            parts.append(part)
        return b"".join(parts), how

    def find(self):
        data, how = self.read()
        generation, size, checksum = HEAD.unpack_from(data) if len(data) >= HEAD.size else (0, 0, 0)
        about = f"generation {generation}, {how}, after {self.seen}: {len(data)} bytes"
        if size != len(data):
            sys.exit(f"{about}, must be {size}")
        if zlib.crc32(data[HEAD.size :]) != checksum:
            sys.exit(f"{about} with another checksum than they had, zeros from {data.find(bytes(512))}")
        if generation < self.seen:
            sys.exit(f"{about}: an old one")
        self.seen = generation
        return bytearray(data)

    def change(self, data):
        rng = self.rng
        how = rng.choice(["write", "write", "append", "cut", "map"])
        off = rng.randrange(HEAD.size, len(data) + 1)
        piece = rng.randbytes(rng.choice([1, 100, 4096, rng.randrange(1, 300_000)]))
        if how == "cut":
            os.ftruncate(self.fd, off)
            del data[off:]
        elif how == "map" and off < len(data):
            piece = piece[: len(data) - off]
            region = mmap.mmap(self.fd, len(data))
            region[off : off + len(piece)] = piece
            region.flush()
            self.later.append(region.close)
            data[off : off + len(piece)] = piece
        else:
            off = len(data) if how == "append" and len(data) < SIZE_MAX else off
            os.pwrite(self.fd, piece, off)
            data[off : off + len(piece)] = piece
        self.seen += 1
        os.pwrite(self.fd, HEAD.pack(self.seen, len(data), zlib.crc32(data[HEAD.size :])), 0)
        if rng.random() < 0.1:
            os.fsync(self.fd)

    def work(self, rounds, lock):
        changes = 0
        while changes < rounds:
            is_reader = self.rng.random() < 0.3
            lock(self.fd, fcntl.LOCK_SH if is_reader else fcntl.LOCK_EX)
            data = self.find()
            if not is_reader:
                self.change(data)
                changes += 1
            lock(self.fd, fcntl.LOCK_UN)
            for close in self.later:
                close()
            self.later.clear()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--lock", choices=list(LOCKS), default="fcntl")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    options = parser.parse_args()
    paths = [os.path.join(folder, "together") for folder in options.folders]
    with open(paths[0], "wb") as file:
        file.write(HEAD.pack(0, HEAD.size, 0))
    print(f"seed {options.seed}", flush=True)
    pids = []
    for n in range(options.processes):
        pids.append(os.fork())
        if pids[-1] == 0:
            Process(paths[n % len(paths)], f"{options.seed} {n}").work(options.rounds, LOCKS[options.lock])
            os._exit(0)
    if any([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]):
        sys.exit(f"seed {options.seed}: wrong")
    last = Process(paths[-1], 0)
    last.find()
    if last.seen != options.processes * options.rounds:
        sys.exit(f"seed {options.seed}: generation {last.seen} after {options.processes * options.rounds} changes")
    print(f"seed {options.seed}: {last.seen} changes, none lost")


main()
