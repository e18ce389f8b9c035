"""mmap(2), shared and private, with writes, cuts and removal beside it."""

import mmap
import os
import signal

from rows.base import child, fails, get, made, put, row, same

PAGE = 4096


@row("shared mappings: of two processes see each other, and reads and writes of the file")
def _():
    put("f", bytes(4 * PAGE))
    fd = os.open("f", os.O_RDWR)
    mapped = mmap.mmap(fd, 4 * PAGE)

    def other():
        theirs = mmap.mmap(os.open("f", os.O_RDWR), 4 * PAGE)
        theirs[0:5] = b"there"
        same(theirs[PAGE : PAGE + 4], b"here")

    mapped[PAGE : PAGE + 4] = b"here"
    same(child(other), 0)
    same((mapped[0:5], os.pread(fd, 5, 0), os.pread(fd, 4, PAGE)), (b"there", b"there", b"here"))
    os.pwrite(fd, b"written", 2 * PAGE)
    same(mapped[2 * PAGE : 2 * PAGE + 7], b"written")
    mapped.flush()
    mapped.close()
    same(get("f")[PAGE : PAGE + 4], b"here")


@row("shared mappings: what was changed is there after munmap and close, without msync")
def _():
    put("f", b"x" * 3 * PAGE)
    with mmap.mmap(os.open("f", os.O_RDWR), 3 * PAGE) as mapped:
        mapped[PAGE - 2 : PAGE + 2] = b"over"
    same(child(lambda: same(get("f"), b"x" * (PAGE - 2) + b"over" + b"x" * (2 * PAGE - 2))), 0)


@row("private mappings: changes stay with who made them, and the file's do not change what was copied")
def _():
    put("f", b"a" * 2 * PAGE)
    fd = os.open("f", os.O_RDWR)
    private = mmap.mmap(fd, 2 * PAGE, mmap.MAP_PRIVATE)
    private[0:1] = b"P"
    same((get("f")[:1], private[0:2]), (b"a", b"Pa"))
    os.pwrite(fd, b"FF", 0)
    same((private[0:2], get("f")[:2]), (b"Pa", b"FF"))
    reader = mmap.mmap(os.open("f", os.O_RDONLY), 2 * PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ)
    same(reader[0:3], b"FFa")


@row("mappings: need the rights of the descriptor (EACCES), a file (ENODEV of folders), and some length")
def _():
    put("f", b"x" * PAGE)
    reading, writing = os.open("f", os.O_RDONLY), os.open("f", os.O_WRONLY)
    fails("EACCES", mmap.mmap, reading, PAGE, mmap.MAP_SHARED, mmap.PROT_WRITE | mmap.PROT_READ)
    fails("EACCES", mmap.mmap, writing, PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ)
    mmap.mmap(reading, PAGE, mmap.MAP_PRIVATE, mmap.PROT_WRITE | mmap.PROT_READ)[0:1] = b"y"
    fails("ENODEV", lambda: mmap.mmap(os.open(".", os.O_RDONLY), PAGE, mmap.MAP_SHARED, mmap.PROT_READ))
    same(get("f")[:1], b"x")


def touched(at):
    """How a process ends that reads a byte of a mapping of f which is four pages long; the mapping outlives the end."""

    def work():
        fd = os.open("f", os.O_RDWR)
        size = os.fstat(fd).st_size
        os.ftruncate(fd, 4 * PAGE)
        mapped = mmap.mmap(fd, 4 * PAGE)
        os.ftruncate(fd, size)
        os._exit(0 if mapped[at] == 0 else 1)

    return child(work)


@row("mappings: beyond the last page SIGBUS, zeros to its end; bytes written there do not get into the file")
def _():
    put("f", b"x" * 100)
    same((touched(100), touched(PAGE - 1)), (0, 0))
    same([touched(at) & 127 for at in (PAGE, 2 * PAGE, 4 * PAGE - 1)], [signal.SIGBUS] * 3)
    fd = os.open("f", os.O_RDWR)
    mapped = mmap.mmap(fd, 100)
    mapped[99:100] = b"!"
    mapped.flush()
    same(get("f"), b"x" * 99 + b"!")
    os.ftruncate(fd, 200)
    same(get("f")[100:], bytes(100))


@row("mappings: a file that is cut under one is zeros or SIGBUS there, never old bytes, also when it grows again")
def _():
    put("f", b"o" * 3 * PAGE)
    fd = os.open("f", os.O_RDWR)
    mapped = mmap.mmap(fd, 3 * PAGE)
    same(mapped[2 * PAGE], ord("o"))
    os.ftruncate(fd, PAGE + 10)
    same((mapped[PAGE + 9], mapped[PAGE + 10]), (ord("o"), 0))
    same(child(lambda: mapped[2 * PAGE]) & 127, signal.SIGBUS)
    os.ftruncate(fd, 3 * PAGE)
    same((mapped[PAGE + 9], mapped[PAGE + 10], mapped[2 * PAGE]), (ord("o"), 0, 0))
    os.pwrite(fd, b"new", 2 * PAGE)
    same(mapped[2 * PAGE : 2 * PAGE + 3], b"new")


@row("mappings: holes become data where they are written, and nothing else does")
def _():
    fd = made("f")
    os.ftruncate(fd, 8 << 20)
    with mmap.mmap(fd, 8 << 20) as mapped:
        same(mapped[5 << 20], 0)
        mapped[5 << 20 : (5 << 20) + 4] = b"data"
    os.fsync(fd)
    same(get("f"), bytes(5 << 20) + b"data" + bytes((3 << 20) - 4))
    same(os.fstat(fd).st_blocks * 512 <= 65536, True)


@row("mappings: of a file that was unlinked and closed go on")
def _():
    put("f", b"x" * 2 * PAGE)
    fd = os.open("f", os.O_RDWR)
    mapped = mmap.mmap(fd, 2 * PAGE)
    os.close(fd)
    os.unlink("f")
    mapped[PAGE : PAGE + 3] = b"new"
    mapped.flush()
    same((mapped[PAGE - 1 : PAGE + 3], os.listdir(".")), (b"xnew", []))


@row("mappings: with O_DIRECT and O_SYNC beside them")
def _():
    put("f", b"m" * 4 * PAGE)
    direct = os.open("f", os.O_RDWR | os.O_DIRECT)
    mapped = mmap.mmap(os.open("f", os.O_RDWR | os.O_SYNC), 4 * PAGE)
    mapped[0:4] = b"mmap"
    block = mmap.mmap(-1, PAGE)
    same((os.preadv(direct, [block], 0), block[0:4]), (PAGE, b"mmap"))
    block[:] = b"d" * PAGE
    os.pwritev(direct, [block], PAGE)
    same(mapped[PAGE : PAGE + 1], b"d")
