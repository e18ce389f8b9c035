#!/usr/bin/env python3
"""A folder with every kind of file and everything that is kept of one, and all of that of any folder as text.

usage: every-kind.py make FOLDER     as root: makes it, always the same
       every-kind.py tell FOLDER     one line for each entry, in the order of its bytes
"""
import hashlib, os, random, socket, stat, subprocess, sys

MIB = 1 << 20


def write(path, parts, size=None):
    """Writes (offset, bytes) into a new file; what is left out is a hole."""
    with open(path, "wb", buffering=0) as file:
        for offset, data in parts:
            file.seek(offset)
            file.write(data)
        if size is not None:
            file.truncate(size)


def make(top):
    chance = random.Random(1)
    os.makedirs(top)
    os.chdir(top)
    for name in ["plain", "sticky", "setgid", "acl", "strange", "deep/" + "/".join("d%d" % n for n in range(30))]:
        os.makedirs(name)
    write("plain/empty", [])
    write("plain/tiny", [(0, b"x")])
    write("plain/inline", [(0, chance.randbytes(4096))])
    write("plain/odd", [(0, chance.randbytes(3 * MIB + 12345))])
    for n in range(100):
        write("plain/%03d" % n, [(0, chance.randbytes(chance.randrange(20000)))])
    write("plain/holes", [(MIB, chance.randbytes(65536)), (5 * MIB, chance.randbytes(MIB))], 9 * MIB)
    write("plain/hole", [], 2 * MIB)

    strange = os.fsencode("strange")
    for name in [b"new\nline", b"not \xff UTF-8 \xfe", "Grüße".encode(), b"n" * 255, b" ", b"-rf", b"\\", b"a\x01b", b"*"]:
        write(os.path.join(strange, name), [(0, name)])

    os.symlink("plain/odd", "link")
    os.symlink("nowhere", "dangling")
    os.symlink("t" * 4000, "long")
    os.symlink(b"to \xff", "bytes")
    os.link("plain/odd", "deep/d0/odd")
    os.link("plain/empty", "sticky/empty")
    os.link("plain/empty", "strange/empty")
    os.link("link", "hard link to link")
    os.mkfifo("fifo")
    os.link("fifo", "fifo again")
    os.mknod("char", stat.S_IFCHR | 0o644, os.makedev(1, 3))
    os.mknod("block", stat.S_IFBLK | 0o600, os.makedev(259, 70000))
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("socket")
    listening.close()

    for path, uid, gid in [("plain/001", 1000, 1000), ("plain/002", 65534, 7), ("plain/005", 4_000_000_000, 3_999_999_999),
                           ("setgid", 0, 1234), ("link", 1000, 1001), ("fifo", 12, 13)]:  # fmt: skip
        os.chown(path, uid, gid, follow_symlinks=False)
    # After chown, which takes set-id bits away.
    for path, mode in [("plain/000", 0), ("plain/001", 0o4755), ("plain/002", 0o2711), ("plain/003", 0o6777),
                       ("plain/004", 0o777), ("sticky", 0o1777), ("setgid", 0o2775), ("deep/d0", 0o700)]:  # fmt: skip
        os.chmod(path, mode)

    run = lambda *args: subprocess.run(args, check=True)
    write("acl/file", [(0, b"with rules")])
    run("setfacl", "-m", "u:1000:rw,u:1001:r,g:1002:-,m::rwx", "acl/file")
    os.mkdir("acl/inherits")
    run("setfacl", "-m", "u:1000:rwx,d:u:1000:rx,d:g:1002:rwx,d:o::-", "acl/inherits")
    write("acl/inherits/child", [(0, b"inherited")])
    os.mkdir("acl/inherits/folder")

    for name, value in [("user.text", b"value"), ("user.empty", b""), ("user.bytes", bytes(range(256))),
                        ("user.long", chance.randbytes(2000)), ("trusted.mark", b"\0"), ("security.mark", b"label")]:  # fmt: skip
        os.setxattr("plain/tiny", name, value)
    os.setxattr("setgid", "user.of a folder", b"1")
    os.setxattr("char", "trusted.device", b"1", follow_symlinks=False)
    os.setxattr("link", "trusted.link", b"1", follow_symlinks=False)
    # cap_net_raw+ep
    os.setxattr("plain/006", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))

    # Times last, folders after what is in them; before 1970 and after 2038 too, and the nanoseconds of each its own.
    times = [-86_400 * 365 * 20, -1, 0, 1, 2**31 + 5, 946_684_799]
    for n, path in enumerate(sorted(everything(os.fsencode(".")), reverse=True)):
        seconds = times[n] if n < len(times) else 1_000_000_000 + n * 1_000
        ns = seconds * 1_000_000_000 + (123_456_789 * (n + 1)) % 1_000_000_000
        os.utime(path, ns=(ns, ns), follow_symlinks=False)


def everything(top):
    yield top
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            yield os.path.join(folder, name)


def spans(path, size):
    """Where data lies, to 64 KiB: how small a hole can be is each filesystem's own."""
    blocks, at = [], 0
    with open(path, "rb") as file:
        while at < size:
            try:
                begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            blocks += [n for n in range(begin >> 16, (at + 65535) >> 16) if n not in blocks[-1:]]
    ends = [n for n in blocks if n + 1 not in blocks]
    return ",".join("%d-%d" % pair for pair in zip([n for n in blocks if n - 1 not in blocks], ends))


def tell(top):
    os.chdir(top)
    first = {}
    for path in sorted(everything(b".")):
        st = os.lstat(path)
        kind = stat.S_IFMT(st.st_mode)
        line = ["%06o" % st.st_mode, "%d:%d" % (st.st_uid, st.st_gid), "mtime=%d" % st.st_mtime_ns]
        if kind != stat.S_IFDIR:
            line += ["links=%d" % st.st_nlink, "same=%s" % ascii(first.setdefault((st.st_dev, st.st_ino), path))]
        if kind in (stat.S_IFCHR, stat.S_IFBLK):
            line += ["device=%d,%d" % (os.major(st.st_rdev), os.minor(st.st_rdev))]
        if kind == stat.S_IFLNK:
            line += ["target=%s" % ascii(os.readlink(path))]
        if kind == stat.S_IFREG:
            with open(path, "rb") as file:
                line += ["size=%d" % st.st_size, hashlib.file_digest(file, "sha256").hexdigest()]
            line += ["data=%s" % spans(path, st.st_size)]
        names = sorted(os.listxattr(path, follow_symlinks=False))
        line += ["%s=%s" % (ascii(name), os.getxattr(path, name, follow_symlinks=False).hex()) for name in names]
        print(ascii(path), *line)


{"make": make, "tell": tell}[sys.argv[1]](sys.argv[2])
