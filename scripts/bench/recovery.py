#!/usr/bin/env python3
"""How long BigFS takes to recover, at its default settings, on a cluster of its own in a new folder.

usage: recovery.py FOLDER [--size MIB] [--files COUNT] [--only PART..] [--json FILE]

read      a storage daemon is killed (kill -9); a mount that had never read them reads files of which it had one of the
          two copies: the slowest first byte, and the slowest whole file of 1 MiB
repair    until every chunk has its copies again: MiB/s of what is copied, from when the node counts as down; beside it
          what the same mount wrote per second, with fsync
stall     the metadata daemon is killed and started again at once, while a program makes, writes, stats and removes
          files: its longest single call, and the longest without the kill
restart   the metadata daemon is killed with COUNT files in the volume and a mount that lives: from then
          until the mount answers, `bigfsd up` and its start included
dead      a mount that has a file open to write is killed (kill -9, with its supervisor) and, at once, the metadata daemon
          with COUNT files in the volume: from then until another mount has renamed that file, `bigfsd up` included; beside
          it the same with a metadata daemon that lives. Both wait for the dead mount's lease (10 s, and 2 s of margin).
          Not done unless --only names it
"""
import argparse, json, os, re, signal, subprocess, sys, threading, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = ["node", os.path.join(ROOT, "dist/daemon/cli/bin.js")]


def bigfsd(*args, **options):
    return subprocess.run([*BIN, *args], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options).stdout


class Cluster:
    def __init__(self, folder):
        self.data, self.mnt = os.path.join(folder, "data"), os.path.join(folder, "mnt")
        self.up("--mount", self.mnt)

    def up(self, *args):
        return bigfsd("up", "--data", self.data, *args)

    def process(self, name):
        with open(os.path.join(self.data, "cluster.json")) as file:
            return next(p for p in json.load(file)["processes"] if os.path.basename(p["data"]) == name)

    def kill(self, name):
        pid = self.process(name)["pid"]
        os.kill(pid, signal.SIGKILL)
        while os.path.exists(f"/proc/{pid}") and open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z":
            time.sleep(0.005)

    def status(self):
        return json.loads(bigfsd("status", "--data", self.data, "--json"))


def write(folder, count):
    start = time.monotonic()
    for n in range(count):
        fd = os.open(os.path.join(folder, f"big-{n}"), os.O_CREAT | os.O_WRONLY)
        os.write(fd, os.urandom(1 << 20))
        os.close(fd)
    for n in range(count):
        other = os.open(os.path.join(folder, f"big-{n}"), os.O_RDONLY)
        os.fsync(other)
        os.close(other)
    return count / (time.monotonic() - start)


def reads(folder, count):
    first, whole = [], []
    for n in range(count):
        start = time.monotonic()
        fd = os.open(os.path.join(folder, f"big-{n}"), os.O_RDONLY)
        os.pread(fd, 4096, 0)
        first.append(time.monotonic() - start)
        if len(os.pread(fd, 1 << 20, 0)) != 1 << 20:
            sys.exit("a file is shorter than it was written")
        whole.append(time.monotonic() - start)
        os.close(fd)
    return max(first), max(whole)


class Program:
    """Works with small files until it is stopped, and remembers its longest call."""

    def __init__(self, folder):
        self.folder, self.longest, self.calls, self.isOver = folder, 0.0, 0, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def call(self, work):
        start = time.monotonic()
        result = work()
        self.longest = max(self.longest, time.monotonic() - start)
        self.calls += 1
        return result

    def run(self):
        n = 0
        while not self.isOver:
            n += 1
            path = os.path.join(self.folder, f"small-{n % 50}")
            fd = self.call(lambda: os.open(path, os.O_CREAT | os.O_WRONLY))
            self.call(lambda: os.write(fd, b"x" * 9000))
            self.call(lambda: os.close(fd))
            self.call(lambda: os.stat(path))
            if n % 3 == 0:
                self.call(lambda: os.unlink(path))

    def stop(self):
        self.isOver = True
        self.thread.join()
        return self.longest


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit("this takes too long")
        time.sleep(0.1)


class Bench:
    def __init__(self, options):
        self.options, self.found = options, {}
        self.cluster = Cluster(options.folder)
        self.isFilled = False

    def tell(self, name, value, unit):
        self.found[name] = value
        print(f"{name:66}{value:10.3f}  {unit}", flush=True)

    def mount(self, name):
        """Another mount, and the pid of its supervisor."""
        path = os.path.join(self.options.folder, name)
        os.makedirs(path, exist_ok=True)
        said = bigfsd("mount", path, "--data", self.cluster.data, "--log", path + ".log", "--no-short-circuit", "--json")
        return path, json.loads(said)["pid"]

    def fill(self):
        if self.isFilled:
            return
        self.isFilled = True
        bigfsd("down", "--data", self.cluster.data)
        fill = os.path.join(ROOT, "dist/scripts/bench/fill.js")
        subprocess.run(["node", fill, os.path.join(self.cluster.data, "meta"), str(self.options.files)], check=True)
        self.cluster.up()

    def repair(self):
        cluster, options = self.cluster, self.options
        # The first thousand operations are slower.
        write(cluster.mnt, 64)
        self.tell("write, 1 MiB files, fsync at the end", write(cluster.mnt, options.size), "MiB/s")
        other, _ = self.mount("other")
        os.listdir(other)
        cluster.kill("store1")
        first, whole = reads(other, min(options.size, 200))
        self.tell("read after a node died, slowest first byte", first, "s")
        self.tell("read after a node died, slowest file of 1 MiB", whole, "s")
        lacking = 0
        while lacking == 0:
            lacking, start = cluster.status()["underReplicated"], time.monotonic()
        until(lambda: cluster.status()["underReplicated"] == 0 and cluster.status()["pending"] == 0, 600)
        self.tell("repair, of chunks of 1 MiB", lacking / (time.monotonic() - start), "MiB/s")
        bigfsd("umount", other)
        cluster.up()

    def stall(self):
        cluster = self.cluster
        program = Program(cluster.mnt)
        time.sleep(5)
        quiet = program.stop()
        program = Program(cluster.mnt)
        time.sleep(1)
        for _ in range(3):
            cluster.kill("meta")
            cluster.up()
            time.sleep(2)
        self.tell("longest call of a program, metadata daemon killed", program.stop(), "s")
        self.tell("longest call of a program, nothing killed", quiet, "s")

    def restart(self):
        cluster = self.cluster
        self.fill()
        os.stat(cluster.mnt)
        cluster.kill("meta")
        seconds = self.until_done(time.time(), lambda: os.stat(os.path.join(cluster.mnt, "filled-0", "file-7")), cluster.up)
        self.tell(f"restart with {self.options.files} files, until the mount was answered", seconds, "s")
        db = os.path.getsize(os.path.join(cluster.data, "meta", "meta.db"))
        pid = cluster.process("meta")["pid"]
        rss = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1)) / 1024
        self.tell("metadata on disk", db / 2**20, "MiB")
        self.tell("memory of the metadata daemon", rss, "MiB")

    def dead(self):
        cluster = self.cluster
        self.fill()
        alive = self.conflict("first", lambda: None)
        self.tell("a mount died: until another one has renamed its file", alive, "s")

        def again():
            cluster.kill("meta")
            cluster.up()

        both = self.conflict("second", again)
        self.tell(f"it and the metadata daemon, with {self.options.files} files: the same", both, "s")

    def conflict(self, name, meanwhile):
        """Seconds from the death of a mount until what it has open is renamed by another one."""
        path, supervisor = self.mount(name)
        os.mkdir(os.path.join(path, name + "-folder"))
        file = os.path.join(name + "-folder", "file")
        fd = os.open(os.path.join(path, file), os.O_CREAT | os.O_RDWR)
        os.write(fd, b"x" * 10_000)
        os.fsync(fd)
        # Nobody takes over from it, and it does not end in order.
        with open(f"/proc/{supervisor}/task/{supervisor}/children") as children:
            served = [int(pid) for pid in children.read().split()]
        for pid in served:
            os.kill(pid, signal.SIGSTOP)
        start = time.time()
        for pid in [supervisor, *served]:
            os.kill(pid, signal.SIGKILL)
        here = os.path.join(self.cluster.mnt, file)
        seconds = self.until_done(start, lambda: os.rename(here, here + "-renamed"), meanwhile)
        subprocess.run(["fusermount3", "-uz", path], check=True)
        try:
            os.close(fd)
        except OSError:
            pass
        return seconds

    def until_done(self, start, work, meanwhile):
        """Seconds from start until the work, which may have to wait, is done."""
        done = []
        working = threading.Thread(target=lambda: (work(), done.append(time.time())))
        working.start()
        meanwhile()
        working.join()
        return done[0] - start


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--size", type=int, default=512, help="MiB that are written, read and repaired")
    parser.add_argument("--files", type=int, default=1_000_000, help="files in the volume at the restart")
    parser.add_argument("--only", nargs="+", choices=["repair", "stall", "restart", "dead"], help="these parts")
    parser.add_argument("--json")
    options = parser.parse_args()
    os.makedirs(options.folder)
    bench = Bench(options)
    try:
        for part in options.only or ["repair", "stall", "restart"]:
            getattr(bench, part)()
        if options.json:
            with open(options.json, "w") as file:
                json.dump(bench.found, file, indent=2)
    finally:
        data = bench.cluster.data
        subprocess.run([*BIN, "down", "--data", data, "--force"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
