"""Locks: what locks.py leaves out, which compares those of files call by call."""

import fcntl
import os
import struct

from rows.base import child, fails, made, put, row, same

F_OFD_GETLK, F_OFD_SETLK = 36, 37


def ofd(fd, kind, start, length):
    """A lock of the open file description."""
    fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0))


@row("locks: of open file descriptions exclude each other in one process, also fcntl's, not flock's")
def _():
    one, two = made("f"), os.open("f", os.O_RDWR)
    ofd(one, fcntl.F_WRLCK, 0, 10)
    fails("EAGAIN", ofd, two, fcntl.F_RDLCK, 5, 1)
    ofd(two, fcntl.F_WRLCK, 10, 10)
    fails("EAGAIN EACCES", fcntl.lockf, two, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 0)
    fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    other = os.dup(one)
    os.close(one)
    fails("EAGAIN", ofd, two, fcntl.F_RDLCK, 5, 1)
    os.close(other)
    ofd(two, fcntl.F_WRLCK, 0, 0)
    same(child(lambda: fails("EAGAIN", ofd, os.open("f", os.O_RDWR), fcntl.F_RDLCK, 100, 1)), 0)


@row("locks: flock is inherited by a child and ends with the last descriptor; fcntl's are not inherited")
def _():
    fd = made("f")
    fcntl.flock(fd, fcntl.LOCK_EX)
    fcntl.lockf(fd, fcntl.LOCK_EX)
    hear, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(tell)
        os.read(hear, 1)
        os._exit(0)
    os.close(fd)
    rival = os.open("f", os.O_RDWR)
    fails("EAGAIN", fcntl.flock, rival, fcntl.LOCK_EX | fcntl.LOCK_NB)
    same(child(lambda: fcntl.lockf(os.open("f", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)), 0)
    os.close(tell)
    os.waitpid(pid, 0)
    fcntl.flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)


@row("locks: flock of folders, of descriptors for reading, of what was unlinked; misuse EBADF and EINVAL")
def _():
    put("f", b"")
    os.mkdir("d")
    one, two = os.open("d", os.O_RDONLY), os.open("d", os.O_RDONLY)
    fcntl.flock(one, fcntl.LOCK_EX)
    fails("EAGAIN", fcntl.flock, two, fcntl.LOCK_SH | fcntl.LOCK_NB)
    reading = os.open("f", os.O_RDONLY)
    fcntl.flock(reading, fcntl.LOCK_EX)
    fails("EBADF", fcntl.lockf, reading, fcntl.LOCK_EX)
    fails("EBADF", fcntl.lockf, os.open("f", os.O_WRONLY), fcntl.LOCK_SH)
    fails("EBADF", fcntl.flock, os.open("f", os.O_PATH), fcntl.LOCK_SH)
    fails("EINVAL", fcntl.fcntl, reading, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, -1, 1, 0))
    os.unlink("f")
    again = os.open(f"/proc/self/fd/{reading}", os.O_RDWR)
    fails("EAGAIN", fcntl.flock, again, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.lockf(again, fcntl.LOCK_EX)
    same(child(lambda: fails("EAGAIN EACCES", fcntl.lockf, again, fcntl.LOCK_SH | fcntl.LOCK_NB)), 0)


@row("locks: fcntl's end when the process closes any descriptor of the file, flock's do not")
def _():
    fd = made("f")
    fcntl.lockf(fd, fcntl.LOCK_EX)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.close(os.open("f", os.O_RDONLY))

    def rival():
        own = os.open("f", os.O_RDWR)
        fcntl.lockf(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fails("EAGAIN", fcntl.flock, own, fcntl.LOCK_EX | fcntl.LOCK_NB)

    same(child(rival), 0)
