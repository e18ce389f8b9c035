#!/usr/bin/env python3
"""How long BigFS takes to recover, at its default settings, on a cluster of its own in a new folder.

usage: recovery.py FOLDER [--size MIB] [--files COUNT] [--json FILE]

read      a storage daemon is killed (kill -9); a mount that had never read them reads files of which it had one of the
          two copies: the slowest first byte, and the slowest whole file of 1 MiB
repair    until every chunk has its copies again: MiB/s of what is copied, from when the node counts as down; beside it
          what the same mount wrote per second, with fsync
stall     the metadata daemon is killed and started again at once, while a program makes, writes, stats and removes
          files: its longest single call, and the longest without the kill
restart   the metadata daemon is killed with COUNT files in the volume and a mount that lives: from then
          until the mount answers, `bigfsd up` and its start included
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


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--size", type=int, default=512, help="MiB that are written, read and repaired")
    parser.add_argument("--files", type=int, default=1_000_000, help="files in the volume at the restart")
    parser.add_argument("--json")
    options = parser.parse_args()
    os.makedirs(options.folder)
    cluster = Cluster(options.folder)
    found = {}

    def tell(name, value, unit):
        found[name] = value
        print(f"{name:58}{value:10.3f}  {unit}", flush=True)

    try:
        # The first thousand operations are slower.
        write(cluster.mnt, 64)
        tell("write, 1 MiB files, fsync at the end", write(cluster.mnt, options.size), "MiB/s")
        other = os.path.join(options.folder, "other")
        os.mkdir(other)
        bigfsd("mount", other, "--data", cluster.data, "--log", other + ".log", "--no-short-circuit")
        os.listdir(other)
        cluster.kill("store1")
        first, whole = reads(other, min(options.size, 200))
        tell("read after a node died, slowest first byte", first, "s")
        tell("read after a node died, slowest file of 1 MiB", whole, "s")
        lacking = 0
        while lacking == 0:
            lacking, start = cluster.status()["underReplicated"], time.monotonic()
        until(lambda: cluster.status()["underReplicated"] == 0 and cluster.status()["pending"] == 0, 600)
        tell("repair, of chunks of 1 MiB", lacking / (time.monotonic() - start), "MiB/s")
        bigfsd("umount", other)
        cluster.up()
        program = Program(cluster.mnt)
        time.sleep(5)
        quiet = program.stop()
        program = Program(cluster.mnt)
        time.sleep(1)
        for _ in range(3):
            cluster.kill("meta")
            cluster.up()
            time.sleep(2)
        tell("longest call of a program, metadata daemon killed", program.stop(), "s")
        tell("longest call of a program, nothing killed", quiet, "s")
        bigfsd("down", "--data", cluster.data)
        fill = os.path.join(ROOT, "dist/scripts/bench/fill.js")
        subprocess.run(["node", fill, os.path.join(cluster.data, "meta"), str(options.files)], check=True)
        cluster.up()
        os.stat(cluster.mnt)
        cluster.kill("meta")
        start = time.time()
        answered = []
        asking = threading.Thread(target=lambda: (os.stat(os.path.join(cluster.mnt, "filled-0", "file-7")), answered.append(time.time())))
        asking.start()
        cluster.up()
        asking.join()
        tell(f"restart with {options.files} files, until the mount was answered", answered[0] - start, "s")
        db = os.path.getsize(os.path.join(cluster.data, "meta", "meta.db"))
        pid = cluster.process("meta")["pid"]
        rss = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1)) / 1024
        tell("metadata on disk", db / 2**20, "MiB")
        tell("memory of the metadata daemon", rss, "MiB")
        if options.json:
            with open(options.json, "w") as file:
                json.dump(found, file, indent=2)
    finally:
        subprocess.run([*BIN, "down", "--data", cluster.data, "--force"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
