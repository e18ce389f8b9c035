"""Sparse files: fallocate(2), SEEK_HOLE and SEEK_DATA, allocated blocks, limits of sizes."""

import os
import resource
import signal

from rows.base import COLLAPSE_RANGE, INSERT_RANGE, KEEP_SIZE, OFF_MAX, PUNCH_HOLE, ZERO_RANGE, fails, fallocate, get, made, put
from rows.base import row, same, true

MIB = 1 << 20


def blocks(path):
    return os.stat(path).st_blocks * 512


@row("st_blocks: of what was written, less after a punch, a cut, and of holes none")
def _():
    fd = made("f")
    os.pwrite(fd, os.urandom(4 * MIB), 0)
    os.fsync(fd)
    true(4 * MIB <= blocks("f") <= 4 * MIB + 65536)
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, MIB, MIB)
    os.fsync(fd)
    true(3 * MIB <= blocks("f") <= 3 * MIB + 65536)
    os.ftruncate(fd, MIB)
    os.fsync(fd)
    true(MIB <= blocks("f") <= MIB + 65536)
    os.ftruncate(fd, 100 * MIB)
    true(blocks("f") <= MIB + 65536)
    os.ftruncate(fd, 0)
    os.fsync(fd)
    same(blocks("f"), 0)
    os.pwrite(fd, b"x", 50 * MIB)
    os.fsync(fd)
    true(0 < blocks("f") <= 65536)


@row("SEEK_DATA, SEEK_HOLE: of a file with a hole between data, of an empty one, beyond the end ENXIO")
def _():
    fd = made("f")
    fails("ENXIO", os.lseek, fd, 0, os.SEEK_DATA)
    fails("ENXIO", os.lseek, fd, 0, os.SEEK_HOLE)
    os.pwrite(fd, b"a" * 65536, 0)
    os.pwrite(fd, b"b" * 65536, 8 * MIB)
    os.ftruncate(fd, 16 * MIB)
    same([os.lseek(fd, at, os.SEEK_DATA) for at in (0, 100, 65536, 4 * MIB, 8 * MIB + 9)], [0, 100, 8 * MIB, 8 * MIB, 8 * MIB + 9])
    same([os.lseek(fd, at, os.SEEK_HOLE) for at in (0, 65535, 65536, 8 * MIB, 10 * MIB)], [65536, 65536, 65536, 8 * MIB + 65536, 10 * MIB])
    fails("ENXIO", os.lseek, fd, 8 * MIB + 65536, os.SEEK_DATA)
    fails("ENXIO", os.lseek, fd, 16 * MIB, os.SEEK_HOLE)
    fails("ENXIO", os.lseek, fd, -1, os.SEEK_DATA)
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 8 * MIB, 65536)
    fails("ENXIO", os.lseek, fd, 65536, os.SEEK_DATA)
    os.ftruncate(fd, 65536)
    same(os.lseek(fd, 0, os.SEEK_HOLE), 65536)


@row("holes read as zeros, also what lay beyond an end that was cut and moved out again")
def _():
    fd = made("f")
    os.pwrite(fd, b"x" * 10_000, 0)
    os.ftruncate(fd, 5_001)
    os.ftruncate(fd, 20_000)
    same(get("f"), b"x" * 5_001 + bytes(14_999))
    os.pwrite(fd, b"y", 30_000)
    same(os.pread(fd, 20_000, 20_000), bytes(10_000) + b"y")


@row("fallocate: reserves and makes longer, keeps the size, punches, zeroes")
def _():
    fd = made("f")
    fallocate(fd, 0, 0, 100_000)
    same((os.fstat(fd).st_size, os.pread(fd, 200_000, 0)), (100_000, bytes(100_000)))
    fallocate(fd, KEEP_SIZE, 0, MIB)
    same(os.fstat(fd).st_size, 100_000)
    os.pwrite(fd, b"x" * 100_000, 0)
    fallocate(fd, 0, 0, 50_000)
    same(get("f"), b"x" * 100_000)
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 10_000, 10_001)
    fallocate(fd, ZERO_RANGE, 30_000, 7)
    expected = b"x" * 10_000 + bytes(10_001) + b"x" * 9_999 + bytes(7) + b"x" * 69_993
    same(get("f"), expected)
    fallocate(fd, ZERO_RANGE | KEEP_SIZE, 99_999, 5_000)
    same(get("f"), expected[:-1] + b"\0")
    fallocate(fd, ZERO_RANGE, 99_999, 5_001)
    same((os.fstat(fd).st_size, get("f")[99_999:]), (105_000, bytes(5_001)))
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 200_000, 5_000)
    same(os.fstat(fd).st_size, 105_000)


@row("fallocate: misuse is EINVAL, EBADF, EISDIR, ESPIPE, EOPNOTSUPP, EFBIG")
def _():
    fd = made("f")
    for off, size in ((0, 0), (-1, 10), (0, -1)):
        fails("EINVAL", fallocate, fd, 0, off, size)
    fails("EFBIG", fallocate, fd, 0, OFF_MAX, 1)
    fails("EFBIG", fallocate, fd, 0, 1 << 62, 1)
    fails("EOPNOTSUPP", fallocate, fd, PUNCH_HOLE, 0, 10)
    fails("EOPNOTSUPP EINVAL", fallocate, fd, PUNCH_HOLE | ZERO_RANGE | KEEP_SIZE, 0, 10)
    fails("EOPNOTSUPP", fallocate, fd, 1 << 20, 0, 10)
    fails("EINVAL EOPNOTSUPP", fallocate, fd, COLLAPSE_RANGE, 1, 3)
    fails("EINVAL EOPNOTSUPP", fallocate, fd, INSERT_RANGE | KEEP_SIZE, 0, 4096)
    fails("EBADF", fallocate, os.open("f", os.O_RDONLY), 0, 0, 10)
    fails("EBADF EISDIR", fallocate, os.open(".", os.O_RDONLY), 0, 0, 10)
    hear, tell = os.pipe()
    fails("ESPIPE", fallocate, tell, 0, 0, 10)
    os.close(hear)
    same(os.fstat(fd).st_size, 0)


@row("sizes: beyond what a filesystem can have EFBIG; a tebibyte of hole is none")
def _():
    fd = made("f")
    fails("EFBIG", os.ftruncate, fd, OFF_MAX)
    fails("EINVAL", os.ftruncate, fd, -1)
    fails("EFBIG", os.pwrite, fd, b"x", 1 << 62)
    fails("EINVAL", os.pwrite, fd, b"x", -1)
    fails("EFBIG", os.truncate, "f", OFF_MAX)
    os.ftruncate(fd, 1 << 40)
    os.pwrite(fd, b"far", (1 << 40) - 3)
    same((os.pread(fd, 9, (1 << 40) - 3), os.pread(fd, 5, 1 << 39)), (b"far", bytes(5)))


@row("sizes: RLIMIT_FSIZE cuts the write that reaches it, then EFBIG and SIGXFSZ")
def _():
    told = []
    signal.signal(signal.SIGXFSZ, lambda *_: told.append(1))
    fd = made("f")
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    same(os.pwrite(fd, b"x" * 6_000, 6_000), 4_000)
    fails("EFBIG", os.pwrite, fd, b"x", 10_000)
    fails("EFBIG", os.ftruncate, fd, 10_001)
    fails("EFBIG", fallocate, fd, 0, 0, 10_001)
    same((os.fstat(fd).st_size, len(told) >= 2), (10_000, True))


@row("cut: by name and by descriptor, longer and shorter, of what is not a file")
def _():
    put("f", b"0123456789")
    os.truncate("f", 4)
    os.truncate("f", 6)
    same(get("f"), b"0123\0\0")
    os.mkdir("d")
    os.mkfifo("p")
    fails("EISDIR", os.truncate, "d", 0)
    fails("EINVAL", os.truncate, "p", 0)
    fails("ENOENT", os.truncate, "no", 0)
