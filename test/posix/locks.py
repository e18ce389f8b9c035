#!/usr/bin/env python3
"""What locks do on a file of a folder: prints it, so that two folders can be compared. usage: locks.py FOLDER [FOLDER2]

With FOLDER2, another mount of the same filesystem, every second process works there.
"""

import errno
import fcntl
import os
import signal
import struct
import sys

folders = sys.argv[1:]
FORMAT = "hhqqi4x"


class Process:
    """A process that does what it is told, line by line, and says how it went."""

    count = 0

    def __init__(self):
        folder = folders[Process.count % len(folders)]
        Process.count += 1
        self.name = f"p{Process.count}"
        orders, self.tell = os.pipe()
        self.hear, answers = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            for fd in (self.tell, self.hear):
                os.close(fd)
            serve(os.path.join(folder, "file"), os.fdopen(orders), answers)
        os.close(orders)
        os.close(answers)

    def start(self, order):
        os.write(self.tell, f"{order}\n".encode())

    def answer(self):
        return os.read(self.hear, 4096).decode().strip()

    def do(self, order):
        self.start(order)
        print(f"{self.name} {order}: {self.answer()}", flush=True)

    def end(self):
        self.start("end -")
        os.waitpid(self.pid, 0)


def lock(fd, wait, kind, start, length):
    data = struct.pack(FORMAT, kind, os.SEEK_SET, start, length, 0)
    fcntl.fcntl(fd, fcntl.F_SETLKW if wait else fcntl.F_SETLK, data)


def blocker(fd, kind, start, length):
    data = fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack(FORMAT, kind, os.SEEK_SET, start, length, 0))
    found, _whence, begin, size, pid = struct.unpack(FORMAT, data)
    return "free" if found == fcntl.F_UNLCK else f"{'rw'[found]} {begin}+{size} {'pid' if pid or len(folders) > 1 else 'no pid'}"


def interrupted(*_):
    raise InterruptedError(errno.EINTR, "a signal")


def serve(path, orders, answers):
    files = {"a": os.open(path, os.O_RDWR | os.O_CREAT), "b": os.open(path, os.O_RDWR), "r": os.open(path, os.O_RDONLY)}
    kinds = {"r": fcntl.F_RDLCK, "w": fcntl.F_WRLCK, "u": fcntl.F_UNLCK}
    flocks = {"r": fcntl.LOCK_SH, "w": fcntl.LOCK_EX, "u": fcntl.LOCK_UN}
    signal.signal(signal.SIGALRM, interrupted)
    for order in orders:
        what, name, *rest = order.split()
        if what == "end":
            os._exit(0)
        fd = files.get(name, -1)
        result = "ok"
        try:
            if what in ("lock", "wait"):
                lock(fd, what == "wait", kinds[rest[0]], int(rest[1]), int(rest[2]))
            elif what == "get":
                result = blocker(fd, kinds[rest[0]], int(rest[1]), int(rest[2]))
            elif what == "flock":
                fcntl.flock(fd, flocks[rest[0]] | fcntl.LOCK_NB)
            elif what == "flockwait":
                fcntl.flock(fd, flocks[rest[0]])
            elif what == "alarm":
                signal.setitimer(signal.ITIMER_REAL, 0.2)
                lock(fd, True, kinds[rest[0]], int(rest[1]), int(rest[2]))
            elif what == "close":
                os.close(fd)
            elif what == "open":
                files[name] = os.open(path, os.O_RDWR)
            elif what == "write":
                os.pwrite(fd, rest[0].encode(), 0)
            elif what == "read":
                result = os.pread(fd, 100, 0).decode()
        except OSError as error:
            result = errno.errorcode[error.errno]
        os.write(answers, f"{result}\n".encode())


one, two, three = Process(), Process(), Process()
for line in """
one lock a w 10 10 | two lock a w 15 1 | two lock a w 20 10 | two lock a r 0 10 | two get a w 0 0 | one get a w 0 100
one lock a u 12 3 | two lock a w 12 3 | two get a r 10 1 | one lock a w 0 5 | two lock a u 0 0 | one lock a r 0 0
three lock a r 5 5 | three lock a w 5 5 | one lock b u 30 5 | three get a w 30 1 | three lock a w 30 5
one close r | three get a w 0 0 | three lock a w 0 0 | one lock a r 0 1 | three close b | one lock a r 0 1
one lock a u 0 0 | two lock a w 9223372036854775806 1 | three lock a r 9223372036854775806 0 | two lock a u 0 0
one lock a r 0 0 | two lock a r 0 0 | one lock a w 0 0 | two lock a u 0 0 | one lock a w 0 0 | two alarm a w 3 1
one lock r w 0 1 | two lock a r 0 1 | one lock a u 0 0 | two lock a w 0 1 | two lock a u 0 0
one flock a w | one flock b w | two flock a r | one lock a w 0 0 | two lock a w 0 0 | one flock a r | two flock a r
one flock a w | two flock b r | two flock a u | two flock b u | one flock a w | one lock a u 0 0 | one close a | two flock a w
two flock a u | one open a | one flock a r | two flock a r | one flock a w | two flock b w | two flock a w | two flock a u
one write a before | two wait a w 0 0 | two write a under | two lock a u 0 0 | one wait a r 0 0 | one read a | one lock a u 0 0
two wait a w 0 0 | two write a second | two lock a u 0 0 | three wait a r 0 0 | three read a | three lock a u 0 0
""".replace("\n", " | ").split(" | "):
    if line.strip():
        name, order = line.strip().split(" ", 1)
        {"one": one, "two": two, "three": three}[name].do(order)

# Whoever waits gets it when it is free, in some order, one at a time.
one.do("lock a w 0 0")
two.start("wait a w 5 1")
three.start("wait a r 50 1")
one.do("lock a u 50 1")
print("three:", three.answer())
one.do("lock a u 0 0")
print("two:", two.answer())
two.do("get a r 50 1")
three.end()
two.do("get a w 50 1")
one.start("flockwait a w")
print("one:", one.answer())
two.start("flockwait a w")
one.end()
print("two:", two.answer())
two.end()
